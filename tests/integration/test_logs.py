"""The log, from the store and from files: every format holds the same rows, and bad rows are told by row and rule."""

import csv
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from bandit.decide.logged import LoggedActions, decode_actions, encode_logged
from bandit.domain import Content
from bandit.engine.explorers import EngineArguments, engine_arguments
from bandit.engine.vw import Engine, Label
from bandit.errors import InvalidInput, InvalidLog, NotFound
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import decisions, final_rewards
from sim.logs.event import DataDigest, EventLog, LeftOut, LoggedEvent
from sim.logs.open import FORMATS, export_log, open_log
from sim.logs.store import StoreLog
from tests.support import builders
from tests.support.builders import MORNING, WINDOW, advance, campaign, decide, request
from tests.support.logs import logged_service, rows_of

BOUNDS = (-5.0, 5.0)


@pytest.fixture
def logged(sqlite_store: Store) -> Service:
    return logged_service(sqlite_store)


def store_log(service: Service) -> StoreLog:
    return StoreLog(service.store, service.campaigns, "spring")


def digest_of(log: EventLog) -> str:
    digest = DataDigest()
    for event in rows_of(log):
        digest.add(event)
    return digest.hexdigest()


def exported(service: Service, path: Path) -> Path:
    export_log(store_log(service), path, file_format=None, progress=lambda rows: None)
    return path


def test_the_log_is_the_decisions_with_their_final_rewards(store: Store) -> None:
    service = logged_service(store)
    log = store_log(service)
    rows = rows_of(log)

    assert len(rows) + log.left_out[LeftOut.VOIDED] == 80 == log.size
    assert log.left_out[LeftOut.VOIDED] > 0
    for row in rows:
        assert isinstance(row.actions, LoggedActions)
        assert row.pmf is not None
        assert row.pmf[row.action_index] == row.propensity
        channel = row.actions.action(row.action_index).channel
        cost = {None: 0.0, "push": 0.01, "email": 0.005}[channel]
        assert round(row.reward + cost, 9) in (0.0, 1.0)
    assert {row.policy for row in rows} == {"learned"}
    assert {row.model_version for row in rows} == {0, 1}
    assert rows[0].context["request"]["user"]["id"] == rows[0].user


def test_what_is_no_row_is_counted_by_its_reason(store: Store) -> None:
    service = logged_service(store, n_users=10, rounds=1)
    service.campaigns.set_paused("spring", True)
    later = MORNING + WINDOW
    decide(service, [request("paused", later)])
    advance(service, later + WINDOW)
    service.learner.run_pass()
    service.campaigns.set_paused("spring", False)
    decide(service, [request("open", later + WINDOW), request("closed", later + WINDOW)])
    log = store_log(service)
    before = len(rows_of(log))
    assert dict(log.left_out)[LeftOut.FALLBACK] == 1
    assert dict(log.left_out)[LeftOut.UNDECIDED] == 2

    advance(service, later + WINDOW + timedelta(hours=27))  # learned from, but not final
    service.learner.run_pass()
    assert len(rows_of(log)) == before
    assert dict(log.left_out)[LeftOut.UNDECIDED] == 2


def test_a_voided_decision_without_its_mark_would_be_a_row_without_a_reward(sqlite_store: Store) -> None:
    service = logged_service(sqlite_store, n_users=10, rounds=1)
    log = store_log(service)
    rows_of(log)
    voided = log.left_out[LeftOut.VOIDED]
    with sqlite_store.write() as connection:
        connection.execute(update(final_rewards).where(final_rewards.c.reward.is_(None)).values(reward=0.0))
    rows = rows_of(log)
    assert voided > 0
    assert len(rows) == 10


def test_a_log_longer_than_a_page_has_every_row_once(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    service = logged_service(sqlite_store)
    whole = rows_of(store_log(service))
    monkeypatch.setattr("sim.logs.store.BATCH", 7)
    batches = list(store_log(service).batches())
    assert max(len(batch) for batch in batches) <= 7
    assert [row.decision_id for batch in batches for row in batch] == [row.decision_id for row in whole]


def test_an_empty_log_and_an_unknown_campaign_are_errors(sqlite_store: Store) -> None:
    service = builders.service(sqlite_store, 0, campaign())
    decide(service, [request()])
    with pytest.raises(InvalidLog, match=r"no decision has a final reward yet.*undecided.*1"):
        rows_of(store_log(service))
    with pytest.raises(NotFound, match="autumn"):
        StoreLog(service.store, service.campaigns, "autumn")


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"propensity": 0.0}, r"propensity: 0\.0: must be in \(0, 1\]"),
        ({"propensity": 1.5}, r"propensity: 1\.5: must be in"),
        ({"propensity": float("inf")}, r"propensity: inf: must be in"),
        ({"action_index": 99}, r"action_index: 99: must be a place"),
        ({"pmf": b"\0" * 8}, r"pmf: \[0\.0\]: must not be negative and must sum to 1|action_index"),
        ({"actions": "{}"}, r"actions: .*not the one that was logged"),
    ],
)
def test_a_damaged_row_of_the_store_is_told_by_row_and_rule(
    logged: Service, values: Mapping[str, Any], rule: str
) -> None:
    victim = rows_of(store_log(logged))[5]
    with logged.store.write() as connection:
        connection.execute(update(decisions).where(decisions.c.id == victim.decision_id).values(values))
    with pytest.raises(InvalidLog, match=f"^row {victim.row}: ({rule})"):
        rows_of(store_log(logged))


def test_every_format_holds_the_same_rows(logged: Service, tmp_path: Path) -> None:
    original = rows_of(store_log(logged))
    digest = digest_of(store_log(logged))
    for kind in FORMATS:
        path = tmp_path / f"log.{kind}"
        rows, said = export_log(store_log(logged), path, file_format=None, progress=lambda rows: None)
        log = open_log(path, reward_bounds=BOUNDS)
        assert (rows, said) == (len(original), digest)
        assert digest_of(log) == digest
        for one, other in zip(rows_of(log), original, strict=True):
            same_but_place(one, other)


def same_but_place(one: LoggedEvent, other: LoggedEvent) -> None:
    assert one.pmf is not None
    assert other.pmf is not None
    assert one.pmf.tolist() == other.pmf.tolist()
    for name in (
        "decision_id",
        "user",
        "campaign",
        "campaign_version",
        "decided_at",
        "learning_place",
        "model_version",
    ):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("policy", "action_index", "propensity", "reward", "actions", "context"):
        assert getattr(one, name) == getattr(other, name), name


def test_a_decision_over_many_contents_is_read_back_from_every_format(sqlite_store: Store, tmp_path: Path) -> None:
    service = builders.service(sqlite_store, 0, campaign())
    contents = [Content(id=f"c-{place}", features={"text": "x" * 900}) for place in range(200)]
    decide(service, [request(contents=contents)])
    advance(service, MORNING + WINDOW)
    service.learner.run_pass()
    (original,) = rows_of(store_log(service))
    assert isinstance(original.actions, LoggedActions)
    assert len(encode_logged(original.actions)) > 131_072  # where csv stops of itself
    for kind in FORMATS:
        (row,) = rows_of(open_log(exported(service, tmp_path / f"log.{kind}"), reward_bounds=BOUNDS))
        assert row.actions == original.actions


def test_a_digest_tells_one_changed_reward(logged: Service) -> None:
    digest = digest_of(store_log(logged))
    victim = rows_of(store_log(logged))[3]
    with logged.store.write() as connection:
        table = final_rewards
        connection.execute(update(table).where(table.c.decision_id == victim.decision_id).values(reward=0.5))
    assert digest_of(store_log(logged)) != digest


def test_an_export_that_fails_leaves_the_file_as_it_was(logged: Service, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("mine")
    with logged.store.write() as connection:
        connection.execute(update(decisions).values(propensity=2.0))
    with pytest.raises(InvalidLog):
        exported(logged, path)
    assert path.read_text() == "mine"
    assert list(tmp_path.glob("*.part")) == []


def learned_by_vw(path: Path, arguments: EngineArguments) -> bytes:
    """The model that VW's own command line makes of a dsjson file."""
    model = path.with_suffix(".model")
    words = [*arguments.words, "--dsjson", "-d", str(path), "-f", str(model), "--no_stdin"]
    done = subprocess.run(
        [sys.executable, "-m", "vowpalwabbit", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return model.read_bytes()


def test_vws_own_command_line_learns_from_an_export_what_the_service_learns(logged: Service, tmp_path: Path) -> None:
    """On an explorer that learns with weights, so that the logged probability matters as well."""
    arguments = engine_arguments({"explorer": "epsilon"}, floor=0.2)
    model = learned_by_vw(exported(logged, tmp_path / "log.dsjson"), arguments)
    rows = rows_of(store_log(logged))
    sets = [row.actions for row in rows if isinstance(row.actions, LoggedActions)]
    lines = [(one.shared_line, one.action_lines.joined()) for one in sets]
    with Engine(arguments, model) as theirs, Engine(arguments) as ours, Engine(arguments) as untaught:
        for row, (shared, actions) in zip(rows, lines, strict=True):
            label = Label(action_index=row.action_index, reward=row.reward, propensity=row.propensity)
            ours.learn(shared, actions, label)
        same = [builders.difference(theirs.predict(*one), ours.predict(*one)) for one in lines]
        moved = [builders.difference(untaught.predict(*one), ours.predict(*one)) for one in lines]
    assert max(same) < 1e-6
    assert max(moved) > 0.01


def test_vw_reads_features_whose_names_its_json_would_pass_over(sqlite_store: Store, tmp_path: Path) -> None:
    service = builders.service(sqlite_store, 0, campaign())
    decide(service, [request("u-1", features={"_hidden": "x"})])
    advance(service, MORNING + WINDOW)
    service.learner.run_pass()
    path = exported(service, tmp_path / "log.dsjson")
    text = path.read_text()
    assert text.count('"%5Fhidden=x":1.0') == 1
    arguments = engine_arguments({}, floor=0.05)
    learned = len(learned_by_vw(path, arguments))
    path.write_text(text.replace('"%5Fhidden=x"', '"_hidden=x"'))
    assert len(learned_by_vw(path, arguments)) < learned


NO_MASK = json.dumps(
    {
        "channels": ["push"],
        "contents": ["a"],
        "times": ["2026-03-02T09:00:00Z"],
        "mask": "none",
        "lines": {"shared": "", "channels": [""], "contents": [""], "times": [""]},
    }
)
PERSONALIZER = {
    "_label_cost": -0.5,
    "_label_probability": 0.8,
    "_label_Action": 2,
    "_labelIndex": 1,
    "o": [{"v": 0.5, "EventId": "e-1", "ActionTaken": False}],
    "Timestamp": "2021-07-29T10:00:00.9990000Z",
    "Version": "1",
    "EventId": "e-1",
    "a": [2, 1, 3],
    "c": {
        "FromUrl": [{"timeofday": "morning", "weather": "sunny"}],
        "_multi": [
            {"_tag": "pasta", "i": {"constant": 1}, "j": [{"taste": "salty"}]},
            {"_tag": "sushi", "j": [{"taste": "umami"}]},
            {"_tag": "cake", "j": [{"taste": "sweet"}]},
        ],
    },
    "p": [0.8, 0.15, 0.05],
    "VWState": {"m": "aa/bb"},
}


def dsjson(tmp_path: Path, *documents: Mapping[str, Any] | str) -> EventLog:
    path = tmp_path / "cooked.json"
    lines = [one if isinstance(one, str) else json.dumps(one) for one in documents]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return open_log(path)


def test_personalizers_dsjson_is_read(tmp_path: Path) -> None:
    (row,) = rows_of(dsjson(tmp_path, PERSONALIZER))
    assert (row.decision_id, row.user, row.action_index, row.propensity, row.reward) == ("e-1", "e-1", 1, 0.8, 0.5)
    assert row.pmf is not None
    assert row.pmf.tolist() == [0.15, 0.8, 0.05]
    assert [one["_tag"] for one in row.action_documents()] == ["pasta", "sushi", "cake"]
    assert row.context == {"FromUrl": [{"timeofday": "morning", "weather": "sunny"}]}
    assert row.decided_at is not None
    assert row.decided_at.isoformat() == "2021-07-29T10:00:00.999000+00:00"


def test_personalizers_rows_that_are_no_decisions_are_counted(tmp_path: Path) -> None:
    log = dsjson(
        tmp_path,
        PERSONALIZER,
        {"RewardValue": 1.0, "EventId": "late", "EnqueuedTimeUtc": "2021-07-29T10:00:00Z"},
        {**PERSONALIZER, "_skipLearn": True},
        "",
    )
    assert len(rows_of(log)) == 1
    assert dict(log.left_out) == {LeftOut.DANGLING: 1, LeftOut.NOT_LEARNABLE: 1}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"_label_probability": 0}, r"propensity: 0\.0: must be in \(0, 1\]"),
        ({"_label_probability": "high"}, r"_label_probability: 'high'"),
        ({"_label_cost": None}, r"_label_cost: null"),
        ({"_label_cost": -7}, r"_label_cost: -7: its reward 7\.0 must be a number within the bounds"),
        ({"_label_probability": 0.7}, r"pmf: 0\.8: is not the propensity 0\.7"),
        ({"_labelIndex": 0}, "must name one action"),
        ({"_labelIndex": None, "_label_Action": None, "a": [], "p": []}, "a, p: 0 and 0 entries"),
        ({"_labelIndex": None, "_label_Action": None, "a": None, "p": None}, "p: null"),
        ({"p": [0.8, 0.2]}, r"a, p: 3 and 2 entries"),
        ({"a": [2, 2, 3]}, "a, p: 3 and 3 entries"),
        ({"a": [2, 1, 4]}, "a, p: 3 and 3 entries"),
        ({"p": [0.8, 0.1, 0.05]}, "pmf: .*sum to 1"),
        ({"p": [0.8, None, 0.05]}, "p"),
        ({"pdrop": 0.5}, "pdrop: 0.5"),
        ({"c": {"_multi": [], "_slots": []}}, "_slots"),
        ({"c": {}}, "_multi: is missing"),
        ({"Timestamp": "yesterday"}, "Timestamp: 'yesterday'"),
        ({"sendopt": {"actions": 3}}, "sendopt.actions: .*cannot be read"),
        ({"sendopt": {"actions": "{}"}}, "sendopt.actions: .*cannot be read"),
        ({"sendopt": {"actions": NO_MASK}}, "sendopt.actions: .*cannot be read"),
    ],
)
def test_a_bad_row_of_dsjson_is_told_by_row_and_rule(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidLog, match=f"^row 2: .*{rule}"):
        rows_of(dsjson(tmp_path, PERSONALIZER, {**PERSONALIZER, **change}))


@pytest.mark.parametrize("line", ["{", '{"_label_cost": NaN}'])
def test_a_line_that_is_a_broken_object_is_told_by_its_row(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidLog, match=r"^row 2: is not"):
        rows_of(dsjson(tmp_path, PERSONALIZER, line))


def test_a_dsjson_file_without_decisions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidLog, match=r"no decision to evaluate.*not_learnable.*1"):
        rows_of(dsjson(tmp_path, {**PERSONALIZER, "_skipLearn": True}))


def table(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / f"mine.{kind}"
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow as pa
        from pyarrow.parquet import write_table

        write_table(pa.Table.from_pylist(rows), path)
    return path


ROW = {"who": "u-1", "arm": 1, "arms": '["a", "b"]', "p": 0.25, "y": 1.0, "theirs": 0.5}
COLUMNS = {"user": "who", "action_index": "arm", "actions": "arms", "propensity": "p", "reward": "y"}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_read_through_its_column_map(tmp_path: Path, kind: str) -> None:
    rows = rows_of(open_log(table(tmp_path, kind, [ROW, {**ROW, "who": None}]), columns=COLUMNS, extra=["theirs"]))
    first, second = rows
    assert (first.user, first.action_index, first.propensity, first.reward) == ("u-1", 1, 0.25, 1.0)
    assert first.action_documents() == ({"id": "a"}, {"id": "b"})
    assert first.columns == {"theirs": 0.5}
    assert second.user != first.user


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"p": 0.0}, r"propensity: 0\.0: must be in \(0, 1\]"),
        ({"p": float("nan")}, r"propensity: nan: must be in"),
        ({"p": 1.01}, r"propensity: 1\.01: must be in"),
        ({"p": -0.5}, r"propensity: -0\.5: must be in"),
        ({"y": 1.5}, r"reward: 1\.5: must be a number within the bounds \[0\.0, 1\.0\]"),
        ({"y": float("nan")}, "reward: nan: must be a number"),
        ({"y": float("inf")}, "reward: inf: must be a number"),
        ({"y": None}, "y: is missing"),
        ({"arm": 2}, "action_index: 2: must be a place among the 2"),
        ({"arm": -1}, "action_index: -1: must be a place"),
        ({"arm": None}, "arm: is missing"),
        ({"arms": "a, b"}, "arms: 'a, b': cannot be read"),
        ({"arms": "[]"}, "arms: '\\[\\]': cannot be read"),
        ({"arms": NO_MASK}, "arms: .*cannot be read"),
        ({"theirs": float("nan")}, "theirs: nan: must be a finite number"),
        ({"theirs": None}, "theirs: is missing"),
    ],
)
def test_a_bad_row_of_a_table_is_told_by_row_and_rule(
    tmp_path: Path, kind: str, change: dict[str, Any], rule: str
) -> None:
    path = table(tmp_path, kind, [ROW, {**ROW, **change}, ROW])
    with pytest.raises(InvalidLog, match=f"^row 2: {rule}"):
        rows_of(open_log(path, columns=COLUMNS, extra=["theirs"]))


def test_a_cell_that_is_no_number_is_told_by_row_and_column(tmp_path: Path) -> None:
    path = table(tmp_path, "csv", [ROW, {**ROW, "p": "half"}])
    with pytest.raises(InvalidLog, match=r"^row 2: p: 'half': cannot be read"):
        rows_of(open_log(path, columns=COLUMNS))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path, kind: str) -> None:
    path = table(tmp_path, kind, [ROW])
    with pytest.raises(InvalidLog, match="has no column propensity, reward; it has who, arm, arms, p, y, theirs"):
        open_log(path)
    with pytest.raises(InvalidLog, match="has no column surprise"):
        open_log(path, columns={**COLUMNS, "user": "surprise"})
    with pytest.raises(InvalidLog, match="'pscore' is not a field of a log"):
        open_log(path, columns={**COLUMNS, "pscore": "p"})


def test_an_empty_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("reward,propensity\n")
    with pytest.raises(InvalidLog, match="has no rows"):
        rows_of(open_log(path))
    path.write_text("")
    with pytest.raises(InvalidLog, match="has no column"):
        open_log(path)


@pytest.mark.parametrize("name", ["missing.csv", "missing.parquet", "missing.dsjson", "text.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.parquet").write_text("reward,propensity\n1,0.5\n")
    with pytest.raises(InvalidLog, match=f"{name}: cannot be read"):
        rows_of(open_log(tmp_path / name))


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'log\.txt': is not one of parquet, csv, dsjson"):
        open_log(tmp_path / "log.txt")
    with pytest.raises(InvalidInput, match="'xlsx': is not one of"):
        open_log(tmp_path / "log.csv", file_format="xlsx")


def test_a_column_map_for_a_file_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no columns to map"):
        open_log(tmp_path / "log.dsjson", columns=COLUMNS)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """What is in memory at once is a batch: six times the rows peak as high as once, a list of them far higher."""
    few, many = (open_log(table(tmp_path / str(n), "csv", [ROW] * n), columns=COLUMNS) for n in (2_000, 12_000))
    streamed = peak_megabytes(many, keep=False)
    assert streamed - peak_megabytes(few, keep=False) < 1
    assert peak_megabytes(many, keep=True) - streamed > 4


def peak_megabytes(log: EventLog, *, keep: bool) -> float:
    """Peak of the memory that a reading allocates, whether or not its rows are kept."""
    kept: list[LoggedEvent] = []
    tracemalloc.start()
    try:
        for events in log.batches():
            if keep:
                kept.extend(events)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_a_logged_set_is_written_as_it_was_stored(logged: Service) -> None:
    with logged.store.read() as connection:
        texts = list(connection.execute(select(decisions.c.actions)).scalars())
    assert texts
    assert [encode_logged(decode_actions(one)) for one in texts] == texts
