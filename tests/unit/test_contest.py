"""Contests: every run once, whole or not at all; figures over seeds; a page that needs nothing else."""

import re
from math import inf, isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bandit.errors import Conflict, InvalidInput
from sim.common.means import Mean, mean_over_runs, ratio_over_runs
from sim.contest.learners import DEFAULT, LEARNERS
from sim.contest.markdown import check_has_heading, write_tables
from sim.contest.page import check_page_path, write_page
from sim.contest.result import Entry, decisions_until_back, entries_of, shown
from sim.contest.runs import POLICIES, Job, jobs_of, missing, playable, run_all, run_job, run_table


def quick_jobs(policies: str = "uniform,oracle", seeds: int = 2) -> list[Job]:
    return jobs_of(["habit_push"], policies.split(","), range(1, seeds + 1), decisions=250)


def test_runs_of_one_seed_meet_the_same_users() -> None:
    one, other = (run_table(job).to_pandas() for job in quick_jobs(seeds=1))
    assert list(one.decisions) == list(other.decisions)
    assert list(one.day) == list(other.day)
    assert one.decisions.iloc[-1] == 250
    # The sums of one moment: uniform and oracle differ only by what the two policies did to the users.
    assert one.oracle.iloc[0] == pytest.approx(other.oracle.iloc[0], rel=0.1)
    assert other.expected.iloc[-1] == pytest.approx(other.oracle.iloc[-1])


def test_a_run_repeats_itself_exactly() -> None:
    job = Job(preset="demo", policy="service", seed=4, decisions=150)
    assert run_table(job).equals(run_table(job))


@pytest.mark.process
def test_runs_are_made_in_processes_and_not_made_twice(tmp_path: Path) -> None:
    jobs = quick_jobs()
    run_job(jobs[0], tmp_path)
    assert missing(jobs, tmp_path) == jobs[1:]
    before = jobs[0].path(tmp_path).stat().st_mtime_ns
    assert set(run_all(jobs, tmp_path, processes=2)) == set(jobs[1:])
    assert missing(jobs, tmp_path) == []
    assert jobs[0].path(tmp_path).stat().st_mtime_ns == before


def test_a_run_that_was_cut_off_leaves_no_file_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = quick_jobs("uniform", 1)

    def cut_off(_table: object, path: Path) -> None:
        path.write_bytes(b"PAR1 and then the machine stopped")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run_job(job, tmp_path)
    assert missing([job], tmp_path) == [job]
    run_job(job, tmp_path)
    assert missing([job], tmp_path) == []
    assert [path.name for path in job.path(tmp_path).parent.iterdir()] == ["1.parquet"]


def test_results_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    (job,) = quick_jobs("uniform", 1)
    run_job(job, tmp_path)
    (longer,) = jobs_of(["habit_push"], ["uniform"], [1], decisions=300)
    with pytest.raises(Conflict, match="made with other settings"):
        missing([longer], tmp_path)


def test_the_results_of_a_folder_are_one_table(tmp_path: Path) -> None:
    for job in quick_jobs("uniform", 2):
        run_job(job, tmp_path)
    table = pq.read_table(tmp_path).to_pandas()
    assert sorted(table.seed.unique()) == [1, 2]
    assert {"preset", "policy", "decisions", "sends", "visits", "opt_outs", "expected", "oracle"} <= set(table.columns)


@pytest.mark.parametrize(
    ("presets", "policies", "message"),
    [(["mars"], ["service"], "'mars' is not one of demo"), (["demo"], ["luck"], "'luck' is not one of service")],
)
def test_what_there_is_not_is_refused(presets: list[str], policies: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        jobs_of(presets, policies, [1], decisions=None)
    assert message in raised.value.errors[0].message
    assert {"service", "uniform", "oracle", "best_fixed", "far_sighted"} <= set(POLICIES)


def made_up(share: list[float]) -> pd.DataFrame:
    """A run of 100 decisions a row with these shares, after a first row of zeros."""
    n = np.arange(len(share) + 1.0)
    earned = np.concatenate([[0.0], np.cumsum(share)]) * 10.0
    return pd.DataFrame(
        {
            "day": n,
            "decisions": 100 * n,
            "sends": 50 * n,
            "visits": 20 * n,
            "opt_outs": n,
            "expected": earned,
            "realised": earned,
            "uniform": 0.0 * n,
            "oracle": 10.0 * n,
        }
    )


def test_figures_are_means_over_seeds_with_students_interval() -> None:
    entry = Entry(preset="demo", policy="service", runs=[made_up([one] * 40) for one in (0.4, 0.5, 0.6)])
    share = entry.figures["share"]
    assert share.value == pytest.approx(0.5)
    assert share.upper - share.value == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)  # t with 2 degrees of freedom
    assert entry.figures["sends /100"].value == pytest.approx(50.0)
    assert entry.figures["visits /100"].value == pytest.approx(20.0)
    assert entry.figures["opt-outs /1,000"].value == pytest.approx(10.0)
    assert entry.figures["reward"].value == pytest.approx(0.05)
    assert isnan(mean_over_runs([1.0]).upper)


def test_a_ratio_of_means_has_the_interval_of_the_pairs() -> None:
    """6 / 4; the residuals are .5 and -.5 over a mean of 2, so .25 by Student's 12.706 with 1 degree of freedom."""
    ratio = ratio_over_runs([2.0, 4.0], [1.0, 3.0])
    assert ratio.value == pytest.approx(1.5)
    assert ratio.upper - ratio.value == pytest.approx(12.7062 * 0.25, rel=1e-4)
    assert ratio.value - ratio.lower == pytest.approx(ratio.upper - ratio.value)


def test_two_policies_are_compared_seed_by_seed() -> None:
    """Worlds differ by .4, the policies in each of them by .05: only the pairs tell them apart."""
    easy_and_hard = (0.3, 0.5, 0.7)
    one, other = (
        Entry(preset="demo", policy=name, runs=[made_up([share + more] * 40) for share in easy_and_hard])
        for name, more in (("service", 0.05), ("uniform", 0.0))
    )
    compared = one.against(other)
    assert list(compared) == ["less uniform", "over uniform"]
    assert (compared["less uniform"].lower, compared["less uniform"].upper) == pytest.approx((0.05, 0.05))
    assert compared["over uniform"].value == pytest.approx(1.1)
    assert one.figures["share"].lower < other.figures["share"].upper
    assert [mean.value for mean in other.against(other).values()] == pytest.approx([0.0, 1.0])


def test_visits_and_sends_are_compared_in_the_same_worlds() -> None:
    """110 visits instead of 100 and 30 instead of 40, of equally many decisions; the sends are half of each."""
    ours, theirs = [made_up([0.5] * 40) for _ in range(2)], [made_up([0.5] * 40) for _ in range(2)]
    for run, visits in zip([*ours, *theirs], (110, 30, 100, 40), strict=True):
        run["visits"] = visits
    one, other = (Entry(preset="demo", policy=name, runs=runs) for name, runs in (("service", ours), ("fixed", theirs)))
    compared = one.effort_against(other)
    assert list(compared) == ["visits over fixed", "sends over fixed"]
    assert [mean.value for mean in compared.values()] == pytest.approx([1.0, 1.0])
    assert compared["visits over fixed"].upper == pytest.approx(1.0 + 12.7062 * 10 / 70, rel=1e-4)
    assert compared["sends over fixed"].upper == pytest.approx(1.0)


def test_the_last_quarter_and_the_curves_tell_what_was_learned() -> None:
    entry = Entry(preset="demo", policy="service", runs=[made_up([0.0] * 30 + [0.8] * 10)] * 2)
    assert entry.figures["last quarter"].value == pytest.approx(0.8)
    curve, regret = entry.curve(), entry.regret()
    assert [mean.value for mean in curve.means] == pytest.approx([0.0] * 15 + [0.8] * 5)
    assert regret.means[-1].value == pytest.approx(300 + 20)
    assert list(curve.decisions) == [200 * place for place in range(1, 21)]


def test_a_policy_is_back_when_a_thousand_decisions_after_the_change_are_good_enough() -> None:
    share = [0.2] * 20 + [0.8] * 20 + [0.1] * 12 + [0.72] * 30
    # Rows 53 to 61 hold 9 good hundreds of ten: 80 % of .8 is reached at 12 + 9 rows after the change.
    assert decisions_until_back(made_up(share), change_day=40.5) == 2_100
    assert decisions_until_back(made_up([0.8] * 40 + [0.1] * 40), change_day=40.5) == inf
    assert isnan(decisions_until_back(made_up([0.8] * 45), change_day=40.5))


def test_of_an_abrupt_change_the_table_says_how_many_runs_are_soon_back() -> None:
    soon, never = made_up([0.8] * 57 + [0.1] * 12 + [0.72] * 60), made_up([0.8] * 57 + [0.1] * 72)
    figures = Entry(preset="abrupt_change", policy="service", runs=[soon, never]).figures
    assert figures["back in 5,000"].value == 0.5
    assert "back in 5,000" not in Entry(preset="demo", policy="service", runs=[soon, never]).figures


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (Mean(value=0.12345, lower=0.1, upper=0.1469, n=3, clusters=3), "0.123 ± 0.023"),
        (Mean(value=2_512.3, lower=2_500.0, upper=2_524.6, n=3, clusters=3), "2,512 ± 12"),
        (Mean(value=0.5, lower=float("nan"), upper=float("nan"), n=1, clusters=1), "0.500"),
        (Mean(value=inf, lower=float("nan"), upper=float("nan"), n=1, clusters=1), "never"),
        (Mean(value=float("nan"), lower=float("nan"), upper=float("nan"), n=1, clusters=1), "-"),
    ],
)
def test_a_figure_is_shown_with_its_interval(mean: Mean, text: str) -> None:
    assert shown(mean) == text


def test_the_page_has_every_policy_and_needs_no_network(tmp_path: Path) -> None:
    for job in quick_jobs():
        run_job(job, tmp_path)
    page = tmp_path / "page.html"
    write_page(entries_of(quick_jobs(), tmp_path), page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert "habit_push" in text
    assert "Drink Less" in text
    for policy in ("uniform", "oracle"):
        assert f'<th scope="row">{policy}</th>' in text
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', text)
    assert "@import" not in text


def test_the_tables_go_below_what_people_wrote(tmp_path: Path) -> None:
    runs = [made_up([one] * 40) for one in (0.4, 0.6)]
    entries = [Entry(preset="demo", policy=name, runs=runs) for name in ("uniform", "service")]
    page = tmp_path / "contest.md"
    page.write_text("# A contest\n\nWhat it found.\n\n## Tables\n\n### an old table\n", encoding="utf-8")
    write_tables(entries, [13, 11, 12, 7], page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# A contest\n\nWhat it found.\n\n## Tables\n")
    assert "an old table" not in text
    assert "### demo\n" in text
    assert "Seeds 7,11-13, 4,000 decisions each." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert rows[0].startswith("| policy | reward | share | last quarter |")
    assert rows[2].startswith("| `uniform` | 0.050 ± ")
    assert rows[2].endswith("| 0.000 ± 0.000 |")
    assert rows[3].startswith("| **`service`** |")
    write_tables(entries, [11], page)
    assert page.read_text(encoding="utf-8").count("## Tables") == 1


def test_a_page_without_a_place_for_tables_is_not_written_over(tmp_path: Path) -> None:
    page = tmp_path / "notes.md"
    page.write_text("# Mine\n", encoding="utf-8")
    with pytest.raises(Conflict, match="has no line '## Tables'"):
        check_has_heading(page)
    assert page.read_text(encoding="utf-8") == "# Mine\n"
    check_has_heading(tmp_path / "new.md")


def test_a_learner_plays_in_the_service_and_in_memory_alike() -> None:
    """The same worlds, the same luck and the same ids of decisions, so the same sums to the last bit."""
    names = ["service", "service:lines", "memory:lines"]
    tables = [run_table(job).drop_columns(["policy"]) for job in jobs_of(["demo"], names, [4], decisions=600)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_what_competes_by_default_is_each_learner_once() -> None:
    assert playable()[0] == "service"
    assert f"service:{DEFAULT}" not in playable()
    assert {f"service:{name}" for name in LEARNERS if name != DEFAULT} <= set(playable())
    assert not [name for name in playable() if name.startswith("memory:")]


def test_what_needs_a_catalogue_does_not_play_where_there_is_none() -> None:
    both = jobs_of(["demo", "thousand"], ["uniform", "fixed_time"], [1], decisions=10)
    assert [(job.preset, job.policy) for job in both] == [
        ("demo", "uniform"),
        ("demo", "fixed_time"),
        ("thousand", "uniform"),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("page.pdf", "must end in .html or .md"), ("none/page.html", "not a folder")]
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_page_path(tmp_path / name)
    assert message in raised.value.errors[0].message
