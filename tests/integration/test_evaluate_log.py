"""A question put to a log: the same numbers as from arrays, a verdict, notes, and a page that carries all of it."""

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bandit.decide.logged import LoggedActions
from bandit.errors import EstimatesWithheld, InvalidInput, InvalidLog
from bandit.service import Service
from bandit.store.sql.database import Store
from sim.evaluate.breakdown import Cell
from sim.evaluate.question import Answer, Question, evaluate_log
from sim.evaluate.report import check_page_path, estimate_rows, verdict_lines, write_page
from sim.evaluate.target_names import CampaignTargets, target_named
from sim.evaluate.targets import OfFunction, Target
from sim.evaluate.timeline import MOST_SPANS, Timeline, WeightHistogram
from sim.logs.event import BATCH, Document, EventLog, LoggedEvent
from sim.logs.open import export_log, open_log
from sim.logs.store import StoreLog
from sim.ope import compare, evaluate
from sim.ope.checks.carry_over import CarryOverSums, RecentWeights
from sim.ope.checks.distinct import Distinct
from sim.ope.groups import user_hashes
from sim.ope.trials.broken_logs import fatigue, reversed_half_way
from tests.support.builders import campaign
from tests.support.databases import sqlite_file_url
from tests.support.logs import logged_service, rows_of

BOUNDS = (-5.0, 5.0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Service]:
    """A log of 400 users x 2 rounds, a third of it drawn evenly."""
    url = sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("log") / "sendopt.db"))
    baseline = {"channel": "push", "content": "streak", "local_hour": 18}
    policy = {"floor": 0.3, "uniform_holdout": 0.3, "baseline": baseline}
    with closing(Store(url)) as store:
        yield logged_service(store, n_users=400, document=campaign(policy=policy))


def log_of(service: Service) -> StoreLog:
    return StoreLog(service.store, service.campaigns, "spring")


def named(service: Service, name: str) -> Target:
    mine = CampaignTargets(store=service.store, campaigns=service.campaigns, campaign_id="spring")
    return target_named(name, mine)


def ask(log: EventLog, target: Target, **options: Any) -> Answer:
    return evaluate_log(log, Question(target=target, **options), progress=lambda rows: None)


def arrays(service: Service, target: Target) -> dict[str, Any]:
    rows = rows_of(log_of(service))
    return {
        "rewards": [row.reward for row in rows],
        "propensities": [row.propensity for row in rows],
        "target_propensities": [target.likelihood(row).propensity for row in rows],
        "users": [row.user for row in rows],
        "reward_bounds": BOUNDS,
    }


@pytest.mark.parametrize("name", ["uniform", "version:1", "baseline", "logged"])
def test_a_streamed_log_is_worth_what_its_arrays_are(service: Service, name: str) -> None:
    target = named(service, name)
    answer = ask(log_of(service), target, show_anyway=True)
    expected = evaluate(**arrays(service, target), show_anyway=True)
    for estimator, one in answer.evaluation.estimates.items():
        other = expected.estimates[estimator]
        assert one.value == pytest.approx(other.value, rel=1e-12, abs=1e-12)
        # Two users may share one of the 65,536 groups of a stream.
        assert one.standard_error == pytest.approx(other.standard_error, rel=0.02, abs=1e-12)
    assert answer.evaluation.diagnostics.n == len(rows_of(log_of(service)))


def test_a_comparison_is_over_the_same_rows(service: Service) -> None:
    target, against = named(service, "version:1"), named(service, "uniform")
    answer = ask(log_of(service), target, against=against, show_anyway=True)
    expected = compare(
        **arrays(service, target),
        baseline_propensities=arrays(service, against)["target_propensities"],
        show_anyway=True,
    )
    assert answer.comparison is not None
    assert answer.comparison.estimates["snips"].value == pytest.approx(expected.estimates["snips"].value, rel=1e-9)


def test_the_log_itself_is_worth_its_mean(service: Service) -> None:
    answer = ask(log_of(service), named(service, "logged"))
    assert answer.verdict.ok
    assert answer.evaluation.estimates["ips"].value == pytest.approx(answer.evaluation.diagnostics.logged_mean)
    assert answer.evaluation.diagnostics.ess == pytest.approx(answer.evaluation.diagnostics.n)


def test_a_file_is_worth_what_the_store_is(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    export_log(log_of(service), path, file_format=None, progress=lambda rows: None)
    target = named(service, "version:1")
    of_store = ask(log_of(service), target, show_anyway=True)
    of_file = ask(open_log(path, reward_bounds=BOUNDS), target, show_anyway=True)
    assert of_file.data_digest == of_store.data_digest
    assert of_file.evaluation.estimates == of_store.evaluation.estimates
    assert of_file.taught == of_store.taught > 0


def test_rows_that_taught_the_target_are_told_and_can_be_left_out(service: Service) -> None:
    target = named(service, "version:1")
    whole = ask(log_of(service), target)
    unseen = ask(log_of(service), target, unseen_only=True)
    assert whole.taught == unseen.taught > 300
    assert any("model was trained on" in note for note in whole.notes)
    assert not any("model was trained on" in note for note in unseen.notes)
    assert unseen.evaluation.diagnostics.n == whole.evaluation.diagnostics.n - whole.taught
    with pytest.raises(InvalidLog, match="none is unseen"):
        ask(log_of(service), named(service, "champion"), unseen_only=True)


def test_a_target_off_the_log_gets_no_numbers_unless_asked_for(service: Service, tmp_path: Path) -> None:
    """All on one option, which a log with many options a row hardly has."""

    def only_the_last(context: Document, actions: Sequence[Document]) -> list[float]:
        return [0.0] * (len(actions) - 1) + [1.0]

    target = OfFunction(name="only the last", function=only_the_last)
    answer = ask(log_of(service), target)
    assert not answer.verdict.ok
    assert list(estimate_rows(answer)) == []
    with pytest.raises(EstimatesWithheld):
        _ = answer.evaluation.estimates
    lines = list(verdict_lines(answer))
    assert lines[0] == "The log cannot answer:"
    assert "effective sample size" in lines[1]
    assert "--show-anyway" in lines[-1]
    page = written(answer, tmp_path)
    assert "effective sample size is" in page
    assert "Estimates" not in page
    assert "SNIPS" not in page

    shown = ask(log_of(service), target, show_anyway=True)
    assert list(verdict_lines(shown))[-1] == "The numbers are shown on request: do not rely on them."
    assert "Estimates" in written(shown, tmp_path)


def test_new_contents_of_a_document_are_mass_that_the_log_cannot_value(service: Service, tmp_path: Path) -> None:
    news = campaign(policy={"floor": 1.0}, contents=[{"id": "streak"}, {"id": "fresh"}])
    path = tmp_path / "news.json"
    path.write_text(news.to_json())
    answer = ask(log_of(service), named(service, f"document:{path}"))
    assert answer.evaluation.diagnostics.unlogged_share == pytest.approx(6 / 13)
    assert not answer.verdict.ok
    assert any("actions that the logger never takes" in reason for reason in answer.verdict.reasons)


def test_a_wrong_propensity_is_found_by_the_draws(service: Service, tmp_path: Path) -> None:
    """The pmf says that all actions are equally likely; the draws say otherwise."""
    rng = np.random.default_rng(1)
    path = tmp_path / "wrong.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reward", "propensity", "action_index", "pmf", "actions"])
        for chosen in rng.choice(2, size=2_000, p=[0.4, 0.6]):
            writer.writerow([chosen, 0.5, chosen, "[0.5, 0.5]", '["a", "b"]'])
    answer = ask(open_log(path), target_named("uniform", None))
    assert any("not drawn as often" in reason for reason in answer.verdict.reasons)


def test_a_reward_model_brings_doubly_robust_estimates(service: Service) -> None:
    target = named(service, "version:1")
    answer = ask(log_of(service), target, reward_model=True, unseen_only=True, show_anyway=True)
    found = answer.evaluation.estimates
    assert {"dm", "dr", "sndr", "switch_dr", "dros"} <= set(found)
    assert abs(found["dr"].value - found["snips"].value) < 3 * found["snips"].standard_error
    residual = answer.evaluation.diagnostics.model_residual
    assert residual is not None
    assert abs(residual) < 0.05


def test_a_reward_model_needs_the_targets_whole_pmf(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('reward,propensity,action_index,actions,mine\n1,0.5,0,"[""a"", ""b""]",0.5\n')
    log = open_log(path, extra=["mine"])
    with pytest.raises(InvalidLog, match="a reward model needs the target's whole pmf"):
        ask(log, target_named("column:mine", None), reward_model=True)


def written(answer: Answer, folder: Path) -> str:
    path = folder / "page.html"
    write_page(answer, path, command=["sendopt", "evaluate", "--target", "<b>"])
    return path.read_text(encoding="utf-8")


def test_a_page_carries_what_it_takes_to_run_it_again(service: Service, tmp_path: Path) -> None:
    answer = ask(log_of(service), named(service, "version:1"), seed=7)
    page = written(answer, tmp_path)
    for part in (answer.data_digest, "model version 1, document sha256", "7", "vowpalwabbit 9.", "numpy", "-5 to 5"):
        assert part in page
    assert "sendopt evaluate --target &lt;b&gt;" in page
    assert next(iter(verdict_lines(answer))) in page
    for note in answer.notes:
        assert note.replace("'", "&#x27;") in page


def test_a_page_has_its_pictures_inside_and_loads_nothing(service: Service, tmp_path: Path) -> None:
    page = written(ask(log_of(service), named(service, "uniform")), tmp_path)
    assert page.count("<svg") == 5
    assert page.count("<h1>") == 1
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert used <= set(names)


@pytest.mark.parametrize(
    ("name", "rule"), [("page.txt", "must end in .html"), ("missing/page.html", "is not a folder")]
)
def test_a_page_that_cannot_be_written_is_refused_before(tmp_path: Path, name: str, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        check_page_path(tmp_path / name)


def test_a_timeline_keeps_every_row_in_few_spans() -> None:
    rng = np.random.default_rng(3)
    rewards, weights = rng.random(10_000), rng.exponential(size=10_000)
    timeline, histogram = Timeline(), WeightHistogram()
    for first in range(0, 10_000, BATCH):
        rows = slice(first, first + BATCH)
        timeline.add(rewards[rows], weights[rows], [None] * BATCH)
        histogram.add(weights[rows])
    assert MOST_SPANS / 2 <= len(timeline.spans) <= MOST_SPANS
    assert sum(span.rows for span in timeline.spans) == 10_000
    *_, last = timeline.cumulative()
    assert last.ess == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert last.weighted_reward == pytest.approx(float(weights @ rewards))
    assert sum(span.rows for span in timeline.merged(20)) == 10_000
    assert len(timeline.merged(20)) == 20
    assert sum(number for _, _, number in histogram.bins()) + histogram.zeros == 10_000


def test_an_empty_pmf_row_stops_the_check_of_draws_only(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "\n".join(f"{place % 2},0.5,0.5,u-{place % 50}" for place in range(200))
    path.write_text(f"reward,propensity,mine,user\n{rows}\n")
    answer = ask(open_log(path, extra=["mine"]), target_named("column:mine", None))
    assert answer.verdict.ok
    assert answer.evaluation.diagnostics.sample_ratio_p_value is None
    assert answer.evaluation.diagnostics.clusters == 50
    assert any("one-step" in note for note in answer.notes)  # users come again, and nobody knows what the column reads


def lost_clicks(path: Path, *, told: bool) -> Path:
    """The outcome of half of the rows with action 1 never arrived."""
    rng = np.random.default_rng(5)
    arms, lost = rng.integers(0, 2, 2_000), rng.random(2_000) < 0.5
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reward", "propensity", "action_index", "pmf", "actions", "feedback_missing"])
        for arm, gone in zip(arms, lost & (arms == 1), strict=True):
            writer.writerow(["" if gone else 1, 0.5, arm, "[0.5, 0.5]", '["a", "b"]', gone if told else ""])
    return path


def test_feedback_that_a_file_says_is_missing_is_checked(tmp_path: Path) -> None:
    answer = ask(open_log(lost_clicks(tmp_path / "lost.csv", told=True)), target_named("uniform", None))
    assert any("whether feedback is missing depends on the action" in reason for reason in answer.verdict.reasons)
    with pytest.raises(InvalidLog, match="reward: is missing"):
        ask(open_log(lost_clicks(tmp_path / "untold.csv", told=False)), target_named("uniform", None))


def test_the_number_of_users_is_not_that_of_their_groups(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "\n".join(f"{place % 3 == 0:d},0.5,0.5,u-{place}" for place in range(10_000))
    path.write_text(f"reward,propensity,mine,user\n{rows}\n")
    found = ask(open_log(path, extra=["mine"]), target_named("column:mine", None)).evaluation.diagnostics
    assert found.users == 10_000
    assert found.clusters < 9_500


def test_users_are_counted_exactly_while_they_are_few_and_closely_when_they_are_many() -> None:
    hashes = np.random.default_rng(6).integers(0, 2**64, 50_000, dtype=np.uint64)
    few, many = Distinct(), Distinct(kept=4_096)
    for part in np.array_split(np.concatenate([hashes, hashes]), 30):
        few.add(part)
        many.add(part)
    assert few.count() == 50_000
    assert many.count() == pytest.approx(50_000, rel=0.06)  # four standard errors of 1 / sqrt(4,096)


def test_what_one_decision_does_to_the_next_is_found_in_a_stream_as_in_arrays() -> None:
    log = fatigue(np.random.default_rng(7), steps=1).arrays
    weights = np.asarray(log["target_propensities"]) / np.asarray(log["propensities"])
    groups = np.asarray(log["users"])
    sums, recent = CarryOverSums(n_groups=int(groups.max()) + 1), RecentWeights()
    for rows in np.array_split(np.arange(len(weights)), 9):
        earlier = recent.earlier(weights[rows], user_hashes(groups[rows]))
        sums.add(log["rewards"][rows], weights[rows], earlier, groups[rows])
    streamed, whole = sums.figure(), evaluate(**log, show_anyway=True).diagnostics.carry_over
    assert streamed is not None
    assert whole is not None
    assert streamed.p_value == pytest.approx(whole.p_value)
    assert streamed.three_steps == pytest.approx(whole.three_steps)


def test_a_log_whose_better_policy_changes_is_refused(tmp_path: Path) -> None:
    log = reversed_half_way(np.random.default_rng(8)).arrays
    path = tmp_path / "log.csv"
    columns = zip(log["rewards"], log["propensities"], log["target_propensities"], strict=True)
    path.write_text("reward,propensity,mine\n" + "\n".join(",".join(map(str, row)) for row in columns) + "\n")
    answer = ask(open_log(path, extra=["mine"]), target_named("column:mine", None))
    assert any("in the first half of the log" in reason for reason in answer.verdict.reasons)


def channel_of(row: LoggedEvent) -> str | None:
    assert isinstance(row.actions, LoggedActions)
    return row.actions.action(row.action_index).channel


@pytest.mark.parametrize("by", ["channel", "hour", "day", "country", "premium", "nothing of the kind"])
def test_a_breakdown_is_the_value_over_the_rows_of_each_cell(service: Service, by: str) -> None:
    target = named(service, "uniform")
    answer = ask(log_of(service), target, by=by)
    assert answer.breakdown is not None
    cells = list(answer.breakdown.cells(0.95))
    assert sum(cell.rows for cell in cells) == answer.evaluation.diagnostics.n
    if by == "channel":
        mine = [row for row in rows_of(log_of(service)) if channel_of(row) == "push"]
        weights = np.array([target.likelihood(row).propensity / row.propensity for row in mine])
        value = float(weights @ np.array([row.reward for row in mine]) / weights.sum())
        assert {cell.name: cell.estimate.value for cell in cells}["push"] == pytest.approx(value)
    if by == "nothing of the kind":
        assert [cell.name for cell in cells] == ["(none)"]


def test_intervals_of_more_cells_are_wider_so_that_all_hold_together(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "\n".join(f'{place % 3 == 0:d},0.5,0.5,"{{""k"": {place % 8}, ""one"": 1}}"' for place in range(4_000))
    path.write_text(f"reward,propensity,mine,context\n{rows}\n")
    target = target_named("column:mine", None)

    def cells(by: str) -> list[Cell]:
        breakdown = ask(open_log(path, extra=["mine"]), target, by=by).breakdown
        return [] if breakdown is None else list(breakdown.cells(0.95))

    (one,), eight = cells("one"), cells("k")
    assert len(eight) == 8
    reach = [(cell.estimate.upper - cell.estimate.value) / cell.estimate.standard_error for cell in (one, eight[0])]
    assert reach == pytest.approx([1.96, 2.73], abs=0.03)
    assert len(cells("user")) == 1


def test_cells_beyond_the_twenty_fourth_are_one(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "\n".join(f'1,0.5,0.5,"{{""k"": {place % 40}}}"' for place in range(400))
    path.write_text(f"reward,propensity,mine,context\n{rows}\n")
    answer = ask(open_log(path, extra=["mine"]), target_named("column:mine", None), by="k")
    assert answer.breakdown is not None
    names = {cell.name: cell.rows for cell in answer.breakdown.cells(0.95)}
    assert len(names) == 25
    assert names["(other)"] == 160
    with pytest.raises(InvalidLog, match="decided_at: is missing"):
        ask(open_log(path, extra=["mine"]), target_named("column:mine", None), by="day")
    with pytest.raises(InvalidLog, match="only logs of this service know channels"):
        ask(open_log(path, extra=["mine"]), target_named("column:mine", None), by="channel")
