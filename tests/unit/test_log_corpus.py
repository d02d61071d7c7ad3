"""Small logs of many shapes: each is read rightly, or refused in one line with row, field, value and rule."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bandit.errors import InvalidLog, SendoptError
from sim.logs import repeats
from sim.logs.event import LeftOut, LoggedEvent
from sim.logs.open import open_log
from sim.logs.repeats import SeenIds
from tests.support.log_files import DSJSON, ROW, csv_bytes, decisions, json_lines, numbered, written
from tests.support.logs import rows_of

ENDINGS = ("", ".gz", ".zst")
MARK = b"\xef\xbb\xbf"


def each(names: Sequence[str], values: Sequence[Any], rule: str) -> Iterator[tuple[str, Any, str]]:
    """Every one of the values in every one of the fields."""
    return ((name, value, rule) for name in names for value in values)


def eligible(**changes: Any) -> str:
    """An eligible set as this service logs it, with other values in some fields."""
    lines = {"shared": "", "channels": [""], "contents": [""], "times": [""], **changes.pop("lines", {})}
    whole = {"channels": ["a"], "contents": ["b"], "times": ["2026-03-01T10:00:00Z"], "mask": "1", "lines": lines}
    return json.dumps({**whole, **changes})


BOTH = ("propensity", "reward")
NO_NUMBERS = ("1_0", "0,5", "1,000", "1.000,5", "50%", "NA", "half", "0x1p-1", "1e", "--1", "1 0", "٠.٥", "0.5.0", "½")
BAD_SETS = (
    '{"lines":3}',
    eligible(times=["x"]),
    eligible(channels=[], contents=[], times=[], lines={"channels": [], "contents": [], "times": []}),
    eligible(mask="ff"),
    eligible(lines={"shared": 3}),
    eligible(contents=[7]),
    eligible(lines={"times": []}),
)
NO_TIMES = ("03/01/2026 10:00", "1714521600", "2026-03-01", "20260301T100000Z", "yesterday", "2026-3-1T10:00:00Z")
# Column, cell, and what must be in the one line that refuses it.
WRONG_CELLS: tuple[tuple[str, str, str], ...] = (
    *each(BOTH, NO_NUMBERS, "must be a number"),
    ("propensity", "True", "must be a number"),
    *each(["propensity"], ("0", "-0.1", "1.00001", "nan", "inf", "1e999"), "must be in (0, 1]"),
    *each(["reward"], ("nan", "inf", "-inf", "1.5", "-1", "1e999"), "must be a number within the bounds"),
    *each(["action_index"], ("0.5", "nan", "inf", "1e300"), "must be a whole number"),
    *each(["action_index"], ("one", "1_0", "0b1"), "must be a number"),
    *each(["action_index"], ("2", "-1", "9223372036854775807"), "must be a place among the 2"),
    ("action_index", "99999999999999999999", "whole number"),
    *each(["action_index", "propensity", "reward"], ("",), "is missing"),
    *each(["actions"], ("push|email", "['a','b']", "[]", "3", "null", "{}", '"a"', "[1,", *BAD_SETS), "cannot be read"),
    *each(["pmf"], ("0.5", "{}", "[]", '["0.5","0.5"]', "[true,false]", "null"), "must be a list of numbers"),
    *each(["pmf"], ("[0.5,null]", "[[0.5],[0.5]]", "0.5|0.5", "[0.5 0.5]", "[0.5,NaN]"), "cannot be read"),
    *each(["pmf"], ("[0.5,0.4]", "[1.5,-0.5]", "[0.5,0.51]"), "sum to 1"),
    ("pmf", "[0.4,0.6]", "is not the propensity 0.5"),
    ("pmf", "[0.25,0.5,0.25]", "must have one for each of the 2"),
    *each(["decided_at"], ("2026-03-01T10:00:00", "2026-03-01 10:00"), "has no UTC offset"),
    *each(["decided_at"], NO_TIMES, "must be a time"),
    ("decided_at", "2026-13-01T10:00:00Z", "cannot be read"),
    *each(["decided_at"], ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:00-05:00"), "outside of the years"),
    *each(["context"], ("[]", "3", "null", '"x"'), "must be a JSON object"),
    *each(["context"], ("{", "{'a': 1}"), "cannot be read"),
    ("decision_id", "d-1", "is in the log twice"),
)
RIGHT_CELLS: tuple[tuple[str, str, str, Any], ...] = (
    ("reward", "True", "reward", 1.0),
    ("reward", "false", "reward", 0.0),
    ("reward", " 1", "reward", 1.0),
    ("reward", "1.", "reward", 1.0),
    ("reward", ".5", "reward", 0.5),
    ("reward", "5e-1", "reward", 0.5),
    ("reward", "+0.5", "reward", 0.5),
    ("propensity", "0.5000000", "propensity", 0.5),
    ("action_index", "1.0", "action_index", 1),
    ("action_index", "0", "action_index", 0),
    ("actions", '[{"id": 1}, {"id": 2}]', "actions", ({"id": 1}, {"id": 2})),
    ("actions", "[1, 2]", "actions", ({"id": 1}, {"id": 2})),
    ("decided_at", "2026-03-01 11:00:00+01:00", "decided_at", datetime.fromisoformat("2026-03-01T10:00:00Z")),
    ("user", "José", "user", "José"),
    ("user", "7", "user", "7"),
    ("user", "a,b", "user", "a,b"),
    ("context", '{"a": [1]}', "context", {"a": [1]}),
    ("decision_id", "", "decision_id", "2"),
)


def refused(path: Path, **options: Any) -> str:
    """The one line with which the log is refused."""
    with pytest.raises(InvalidLog) as raised:
        rows_of(open_log(path, **options))
    (line,) = str(raised.value).splitlines()
    return line


def read(path: Path, **options: Any) -> list[LoggedEvent]:
    return rows_of(open_log(path, **options))


@pytest.mark.parametrize(("column", "cell", "rule"), WRONG_CELLS)
def test_a_wrong_cell_is_refused_by_row_column_and_rule(tmp_path: Path, column: str, cell: str, rule: str) -> None:
    line = refused(written(tmp_path, "log.csv", csv_bytes(numbered(3, **{column: cell}))))
    assert line.startswith(f"row 2: {column}: ")
    assert rule in line
    assert len(line) < 500


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("column", "cell", "field", "value"), RIGHT_CELLS)
def test_an_odd_cell_that_is_right_is_read(
    tmp_path: Path, ending: str, column: str, cell: str, field: str, value: Any
) -> None:
    rows = read(written(tmp_path, f"log.csv{ending}", csv_bytes(numbered(3, **{column: cell}, pmf=""))))
    assert len(rows) == 3
    assert getattr(rows[1], field) == value


@pytest.mark.parametrize("nobody", ["", "nan", "NaN", "null", "NULL", "None", "NA", "N/A", "<NA>", "#N/A"])
@pytest.mark.parametrize("with_id", [True, False])
def test_nobody_is_no_user_and_such_rows_stand_for_themselves(tmp_path: Path, nobody: str, with_id: bool) -> None:
    rows = [{**one, "user": nobody, **({} if with_id else {"decision_id": ""})} for one in numbered(3)]
    users = [row.user for row in read(written(tmp_path, "log.csv", csv_bytes(rows)))]
    assert len(set(users)) == 3
    assert users == (["d-1", "d-2", "d-3"] if with_id else ["row 1", "row 2", "row 3"])


CSV_FILES: tuple[tuple[str, bytes, str], ...] = (
    ("decimal comma", b"propensity,reward\n0.5,0,75\n", "row 1: '0.5,0,75': 3 cells: must be 2"),
    ("thousands", b"propensity,reward\n0.5,1\n0.5,1,000\n", "row 2: '0.5,1,000': 3 cells: must be 2"),
    ("name with a comma", b"name,propensity,reward\nDoe, J,0.5,1\n", "row 1: 'Doe, J,0.5,1': 4 cells: must be 3"),
    ("too many", b"user,propensity,reward\nu,0.5,1,oops\n", "row 1: 'u,0.5,1,oops': 4 cells"),
    ("too few", b"propensity,reward,user\n0.5,1\n", "row 1: '0.5,1': 2 cells: must be 3"),
    ("one header twice", b"propensity,reward,reward\n0.5,1,0\n", "two columns 'reward'"),
    ("with a space", b"propensity,reward, reward\n0.5,1,0\n", "two columns 'reward'"),
    ("no header", b"0.5,1\n0.5,1\n", "has no column propensity, reward; it has 0.5, 1"),
    ("semicolons", b"propensity;reward\n0.5;1\n", "it has propensity;reward"),
    ("tabs", b"propensity\treward\n0.5\t1\n", "has no column propensity, reward"),
    ("separator line", b"sep=,\npropensity,reward\n0.5,1\n", "has no column"),
    ("latin", "user,propensity,reward\nJosé,0.5,1\n".encode("latin-1"), "line 2: is not UTF-8"),
    ("16 bits", "propensity,reward\n0.5,1\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ("total", b"user,propensity,reward\nu,0.5,1\nTotal,1,40\n", "row 2: reward: 40.0: must be a number within"),
    ("open quote", b'user,propensity,reward\n"u,0.5,1\nv,0.5,1\n', "row 1: the quotes do not match"),
    ("quote over rows", b'user,propensity,reward\nt,0.5,1\n"u,0.5,1\nv,0.5,1\nw",0.5,1\n', "row 2: user: 'u,0.5,1"),
    ("stray quote", b'user,propensity,reward\n"u"x,0.5,1\n', "row 1: the quotes do not match"),
    ("empty", b"", "has no column"),
    ("only a header", b"propensity,reward\n", "has no rows"),
    ("only blank lines", b"propensity,reward\n\n\n", "has no rows"),
    ("zero bytes", b"propensity,reward\n0.5,1\x00\n", "row 1: reward: '1\\x00': cannot be read"),
    ("binary", bytes(range(128, 256)) * 4, "cannot be read"),
)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("content", "rule"), [(content, rule) for _, content, rule in CSV_FILES])
def test_a_table_of_another_shape_is_refused(tmp_path: Path, ending: str, content: bytes, rule: str) -> None:
    assert rule in refused(written(tmp_path, f"log.csv{ending}", content))


@pytest.mark.parametrize(
    "content",
    [
        MARK + b"propensity,reward\n0.5,1\n0.5,0\n",
        b"propensity, reward\n0.5, 1\n0.5, 0\n",
        b"propensity,reward\r\n0.5,1\r\n0.5,0\r\n",
        b"propensity,reward\r0.5,1\r0.5,0\r",
        b"propensity,reward\n\n0.5,1\n\n0.5,0\n\n",
        b",propensity,reward\n0,0.5,1\n1,0.5,0\n",
        b"propensity,reward,,\n0.5,1,,\n0.5,0,,\n",
        b'"propensity","reward"\n"0.5","1"\n"0.5","0"\n',
        b'note,propensity,reward\n"two\nlines",0.5,1\nx,0.5,0\n',
        b"propensity,reward\n0.5,1\n0.5,0",
        b"propensity,reward\n1.0000001,1\n1.000001,0\n",
    ],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_of_an_odd_shape_that_is_right_is_read(tmp_path: Path, content: bytes, ending: str) -> None:
    rows = read(written(tmp_path, f"log.csv{ending}", content))
    assert [row.reward for row in rows] == [1.0, 0.0]
    assert {row.propensity for row in rows} <= {0.5, 1.0}


@pytest.mark.parametrize("name", ["log.csv.gz", "log.csv.zst", "log.dsjson.gz", "log.json.zst"])
@pytest.mark.parametrize("cut", [20, 40])
def test_a_compressed_file_that_was_cut_off_is_named(tmp_path: Path, name: str, cut: int) -> None:
    whole = csv_bytes(numbered(9)) if "csv" in name else json_lines(*decisions(9))
    path = written(tmp_path, name, whole)
    path.write_bytes(path.read_bytes()[:cut])
    assert name in refused(path)


def test_times_without_an_offset_are_read_in_a_zone_that_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "log.csv", csv_bytes(numbered(2, decided_at="2026-07-01 10:00:00")))
    row = read(path, assume_zone="Europe/Berlin")[1]
    assert row.decided_at == datetime.fromisoformat("2026-07-01T08:00:00Z")
    with pytest.raises(SendoptError, match="Atlantis"):
        open_log(path, assume_zone="Atlantis")


# Parquet


def parquet(folder: Path, columns: Mapping[str, Any]) -> Path:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    arrays = {name: one if isinstance(one, pa.Array) else pa.array(one) for name, one in columns.items()}
    write_table(pa.Table.from_arrays(list(arrays.values()), list(arrays)), folder / "log.parquet")
    return folder / "log.parquet"


def parquet_columns() -> dict[str, tuple[Any, str, Any]]:
    """Columns of two rows beside propensity and reward: with the field of the first row, and its value."""
    import pyarrow as pa

    at = datetime.fromisoformat("2026-03-01T10:00:00+00:00")
    return {
        "reward decimal": (pa.array([Decimal("0.25"), Decimal("0.5")]), "reward", 0.25),
        "reward bool": (pa.array([True, False]), "reward", 1.0),
        "reward float32": (pa.array([0.5, 1.0], pa.float32()), "reward", 0.5),
        "reward int8": (pa.array([1, 0], pa.int8()), "reward", 1.0),
        "user category": (pa.array(["a", "b"]).dictionary_encode(), "user", "a"),
        "user int": (pa.array([7, 8]), "user", "7"),
        "user nan": (pa.array([math.nan, math.nan]), "user", "row 1"),
        "user null": (pa.array([None, "x"]), "user", "row 1"),
        "decided_at zone": (pa.array([at, at], pa.timestamp("ns", tz="Europe/Berlin")), "decided_at", at),
        "pmf list": (pa.array([[0.5, 0.5]] * 2), "pmf", [0.5, 0.5]),
        "pmf float32": (pa.array([[0.5, 0.5]] * 2, pa.list_(pa.float32())), "pmf", [0.5, 0.5]),
        "pmf fixed": (pa.array([[0.5, 0.5]] * 2, pa.list_(pa.float64(), 2)), "pmf", [0.5, 0.5]),
        "pmf decimals": (pa.array([[Decimal("0.5"), Decimal("0.5")]] * 2), "pmf", [0.5, 0.5]),
        "actions list": (pa.array([["a", "b"]] * 2), "actions", ({"id": "a"}, {"id": "b"})),
        "actions structs": (pa.array([[{"k": 1}, {"k": 2}]] * 2), "actions", ({"k": 1}, {"k": 2})),
        "context struct": (pa.array([{"k": 1}, {"k": 2}]), "context", {"k": 1}),
        "action_index float": (pa.array([1.0, 0.0]), "action_index", 1),
    }


@pytest.mark.parametrize("name", list(parquet_columns()))
def test_a_parquet_column_of_another_type_is_read(tmp_path: Path, name: str) -> None:
    column, field, value = parquet_columns()[name]
    columns = {"propensity": [0.5, 0.5], "reward": [1.0, 0.0], "action_index": [1, 0], name.split()[0]: column}
    row = read(parquet(tmp_path, columns))[0]
    found = getattr(row, field)
    assert (found.tolist() if field == "pmf" else found) == value


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("decided_at", [datetime(2026, 3, 1, 10)], "has no UTC offset"),
        ("decided_at", [date(2026, 3, 1)], "must be a time"),
        ("decided_at", [1714521600], "must be a time"),
        ("user", [b"u"], "must be a text or a number"),
        ("user", [["u"]], "must be a text or a number"),
        ("user", [{"id": "u"}], "must be a text or a number"),
        ("propensity", [[0.5]], "must be a number"),
        ("propensity", [True], "must be a number"),
        ("propensity", ["0,5"], "must be a number"),
        ("reward", [{"v": 1.0}], "must be a number"),
        ("reward", [None], "is missing"),
        ("pmf", [{"a": 0.5, "b": 0.5}], "must be a list of numbers"),
        ("pmf", [[["0.5"]]], "cannot be read"),
        ("actions", [{"a": 1}], "must be a JSON list"),
        ("actions", [[]], "must be a JSON list"),
        ("context", [[1]], "must be a JSON object"),
        ("action_index", [0.5], "must be a whole number"),
        ("action_index", [[1]], "must be a number"),
    ],
)
def test_a_parquet_value_that_cannot_be_read_is_refused(tmp_path: Path, column: str, values: Any, rule: str) -> None:
    columns = {"propensity": [0.5], "reward": [1.0], "action_index": [0], column: values}
    line = refused(parquet(tmp_path, columns))
    assert line.startswith(f"row 1: {column}: ")
    assert rule in line


def test_parquet_files_of_another_shape_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    path = tmp_path / "log.parquet"
    write_table(pa.Table.from_arrays([pa.array([0.5])] * 3, ["propensity", "reward", "reward"]), path)
    assert "two columns 'reward'" in refused(path)
    path.write_bytes(path.read_bytes()[:50])
    assert "cannot be read" in refused(path)
    assert "unpack the file first" in refused(written(tmp_path, "log.parquet.gz", b"PAR1"))


# dsjson

OTHER_TYPE = "is not of the type"
WRONG_FIELDS: tuple[tuple[str, Any, str], ...] = (
    *each(["_label_cost", "_label_probability"], (None, "1", [], {}, True), OTHER_TYPE),
    *each(["_labelIndex", "_label_Action"], ("1", [], {}, 1.5, True), OTHER_TYPE),
    *each(["a", "p"], ("1", 3, {}, True), OTHER_TYPE),
    *each(["_label_cost", "_label_probability", "c"], (...,), "is missing"),
    *each(["c"], (None, [], "x", 3), OTHER_TYPE),
    *each(["_skipLearn"], ("true", 1, []), OTHER_TYPE),
    *each(["EventId"], ([], {}, 1.5, True), OTHER_TYPE),
    *each(["pdrop"], ("0", [], True), OTHER_TYPE),
    *each(["sendopt"], ("x", [], 3), OTHER_TYPE),
    *each(["Timestamp"], (1714521600, "yesterday", [], "20260301", True), "must be a time"),
    ("Timestamp", "0001-01-01T00:00:00+05:00", "outside of the years"),
    ("pdrop", 0.5, "rows were dropped at random"),
    ("a", [0, 1], "a counts the actions of _multi from 1"),
    *each(["a"], (["2", "1"], [2.0, 1.0], [None, 1]), "must be a list of the places"),
    *each(["p"], ([0.5, None], ["0.5", "0.5"], [[0.5], [0.5]], [True, False]), "must be a list of numbers"),
    ("_label_ca", {"cost": -1, "pdf_value": 0.01, "action": 18.5}, "a continuous action"),
    ("_outcomes", [], "several slots"),
    ("_label_cost", -7, "its reward 7.0 must be a number within"),
    ("_original_label_cost", "x", OTHER_TYPE),
)
OWN_TEXTS = ("user", "campaign", "policy", "context", "actions")
OWN_NUMBERS = ("learning_place", "campaign_version", "model_version")
WRONG_LINES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"_labelIndex": 0}, "must name one action of the 2"),
    ({"_label_Action": 1}, "_labelIndex 1, _label_Action 1, a [2,1]: must name one action"),
    ({"a": [1, 2]}, "must name one action"),
    ({"_labelIndex": 7, "_label_Action": 8, "a": ..., "p": ...}, "must name one action"),
    ({"_labelIndex": -1, "_label_Action": 0, "a": ..., "p": ...}, "must name one action"),
    ({"a": [2]}, "a, p: 1 and 2 entries"),
    ({"a": [2, 2]}, "a, p: 2 and 2 entries"),
    ({"a": [2, 3]}, "a, p: 2 and 2 entries"),
    ({"p": [0.5]}, "a, p: 2 and 1 entries"),
    ({"p": [0.5, 0.4]}, "sum to 1"),
    ({"p": [0.4, 0.6]}, "is not the propensity 0.5"),
    ({"_label_probability": 0, "p": [0, 1]}, "propensity: 0.0: must be in (0, 1]"),
    ({"_label_probability": 1.01}, "propensity: 1.01: must be in (0, 1]"),
    ({"c": {}}, "c._multi: is missing"),
    ({"c": {"_multi": []}, "a": [], "p": []}, "c._multi: []: must be a list of at least one action"),
    ({"c": {"_multi": {}}}, "c._multi: {}: is not of the type"),
    ({"c": {"_multi": [1, 2]}}, "c._multi: [1,2]: must be a list of at least one action"),
    ({"c": {"_multi": [{}], "_slots": []}}, "_slots: []: a decision over several slots"),
    *(({"sendopt": {name: []}}, f"sendopt.{name}: []") for name in OWN_TEXTS),
    *(({"sendopt": {name: "x"}}, f"sendopt.{name}: 'x'") for name in OWN_NUMBERS),
    ({"EventId": "e-1"}, "decision_id: 'e-1': is in the log twice"),
)


@pytest.mark.parametrize(("name", "value", "rule"), WRONG_FIELDS)
def test_a_wrong_field_of_dsjson_is_refused(tmp_path: Path, name: str, value: Any, rule: str) -> None:
    line = refused(written(tmp_path, "log.dsjson", json_lines(*decisions(3, **{name: value}))))
    assert line.startswith(f"row 2: {name}: ")
    assert rule in line


@pytest.mark.parametrize(("changes", "rule"), WRONG_LINES)
def test_a_line_of_dsjson_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    line = refused(written(tmp_path, "log.dsjson", json_lines(*decisions(3, **changes))))
    assert line.startswith("row 2: ")
    assert rule in line


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"[" + json_lines(DSJSON).strip() + b"]", "row 1: is a JSON array: there must be one object a line"),
        (b"[\n" + json_lines(DSJSON) + b"]\n", "is a JSON array"),
        (json_lines(DSJSON)[:100], "row 1: is not JSON"),
        (json_lines(DSJSON, '{"_label_cost": NaN}'), "row 2: is not JSON"),
        (json_lines(DSJSON).decode().encode("utf-16"), "is UTF-16 text"),
        (b"", "has no decision to evaluate"),
        (b"\n\n", "has no decision to evaluate"),
        (b"propensity,reward\n0.5,1\n", "excluded: {'not_an_object': 2}"),
        (json_lines({**DSJSON, "_skipLearn": True}), "excluded: {'not_learnable': 1}"),
        (json_lines({"EventId": "x", "RewardValue": 1.0}), "excluded: {'dangling': 1}"),
        (json_lines({"RewardValue": 1.0}), "row 1: EventId: is missing"),
        (json_lines({"EventId": "x", "RewardValue": "high"}), "row 1: RewardValue: 'high': is not of the type"),
        (json_lines({"EventId": "x", "o": 3}), "row 1: o: 3: is not of the type"),
    ],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_dsjson_of_another_shape_is_refused(tmp_path: Path, content: bytes, rule: str, ending: str) -> None:
    assert rule in refused(written(tmp_path, f"log.dsjson{ending}", content))


PLACES_47 = list(range(1, 48))
P_47 = {
    "_label_probability": 1 / 47,
    "_label_Action": 1,
    "_labelIndex": 0,
    "a": PLACES_47,
    "p": [0.021277] * 47,
    "c": {"_multi": [{"id": str(place)} for place in PLACES_47]},
}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (P_47, "propensity", 1 / 47),
        ({"_label_probability": 1.0000001, "p": [1.0000001, 0.0]}, "propensity", 1.0),
        ({"EventId": 12345678901234567890}, "decision_id", "12345678901234567890"),
        ({"EventId": None}, "decision_id", "2"),
        ({"Timestamp": None}, "decided_at", None),
        ({"Timestamp": "2026-03-01T10:00:00"}, "decided_at", datetime.fromisoformat("2026-03-01T10:00:00Z")),
        ({"a": ..., "p": ...}, "action_index", 1),
        ({"_labelIndex": ..., "_label_Action": ...}, "action_index", 1),
        ({"_label_cost": 0}, "reward", 0.0),
        ({"pdrop": 0.0}, "reward", 1.0),
        ({"_original_label_cost": -1.0}, "reward", 1.0),
        ({"sendopt": None}, "user", "e-2"),
    ],
)
def test_an_odd_line_of_dsjson_that_is_right_is_read(
    tmp_path: Path, changes: dict[str, Any], field: str, value: Any
) -> None:
    row = read(written(tmp_path, "log.dsjson", json_lines(*decisions(2, **changes))))[1]
    assert getattr(row, field) == value


@pytest.mark.parametrize("ending", ENDINGS)
def test_marks_ends_of_lines_and_lines_of_other_kinds_do_not_matter(tmp_path: Path, ending: str) -> None:
    lines = json_lines(*decisions(2)).replace(b"\n", b"\r\n")
    content = MARK + b"\r\n" + lines + b"checkpoint 7 of 9\r\n\x00\x01\r\n"
    log = open_log(written(tmp_path, f"log.json{ending}", content))
    assert len(rows_of(log)) == 2
    assert dict(+log.left_out) == {LeftOut.NOT_AN_OBJECT: 2}


def test_rewards_that_say_only_that_the_baseline_was_imitated_are_left_out(tmp_path: Path) -> None:
    """In apprentice mode the label is whether the action was the baseline's: "always action 1" would earn 1.0."""
    imitated = decisions(3, _original_label_cost=0.0)
    log = open_log(written(tmp_path, "log.dsjson", json_lines(*imitated)))
    assert [row.row for row in rows_of(log)] == [1, 3]
    assert dict(+log.left_out) == {LeftOut.IMITATION: 1}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "late",
    [
        {"EventId": "e-2", "RewardValue": 0.75, "EnqueuedTimeUtc": "2026-03-01T10:00:00Z"},
        {"EventId": "e-2", "v": 0.75},
        {"EventId": "e-2", "o": [{"v": 0.5, "EventId": "e-2"}, {"v": 0.25}, {"ActionTaken": True}]},
    ],
)
def test_a_reward_on_a_line_of_its_own_is_joined_to_its_decision(
    tmp_path: Path, place: int, late: dict[str, Any]
) -> None:
    lines: list[Mapping[str, Any]] = list(decisions(2, _label_cost=0.0))
    lines.insert(place, late)
    log = open_log(written(tmp_path, "log.dsjson", json_lines(*lines, {"EventId": "gone", "v": 1.0})))
    assert [row.reward for row in rows_of(log)] == [1.0, 0.75]
    assert dict(+log.left_out) == {LeftOut.DANGLING: 1}


def test_a_late_reward_of_a_decision_that_has_one_is_refused_or_added(tmp_path: Path) -> None:
    late = {"EventId": "e-2", "RewardValue": 0.25}
    path = written(tmp_path, "log.dsjson", json_lines(*decisions(2, _label_cost=-0.5), late))
    assert "row 3: reward: 0.25: decision 'e-2' of row 2 has a reward already; --keep-late adds" in refused(path)
    assert [row.reward for row in read(path, keep_late=True)] == [1.0, 0.75]


# What is the same for all


def test_ids_are_told_apart_over_batches_and_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MOST_KEPT", 5_000)
    seen = SeenIds()
    for first in range(0, 20_000, 1_000):
        seen.add(range(first, first + 1_000), [f"d-{place}" for place in range(first, first + 1_000)])
    with pytest.raises(InvalidLog, match=r"^row 20000: decision_id: 'd-19500': is in the log twice"):
        seen.add([20_000], ["d-19500"])
    seen.add([20_001], ["d-3"])  # forgotten: the oldest of a log that is longer than what is kept
    assert sum(len(level) for level in seen._levels) <= 2 * 5_000


def test_a_value_is_shown_with_at_most_200_characters(tmp_path: Path) -> None:
    line = refused(written(tmp_path, "log.csv", csv_bytes(numbered(2, reward="x" * 5_000))))
    assert len(line) < 400
    assert "x" * 150 in line
    huge = refused(written(tmp_path, "log.dsjson", json_lines(*decisions(2, p=["x" * 5_000]))))
    assert len(huge) < 400


def test_every_case_of_the_shared_folder_is_read_or_refused_in_one_line() -> None:
    data = Path(os.environ.get("SENDOPT_DATA", Path(__file__).parents[3] / "shared" / "data"))
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"the cases of other systems are missing: no folder {folder}, beside that of SENDOPT_DATA")
    found = {}
    for path in sorted(one for one in folder.rglob("*.*") if one.suffix in (".csv", ".dsjson")):
        try:
            found[path.stem] = f"{len(read(path))} rows"
        except InvalidLog as error:
            (found[path.stem],) = str(error).splitlines()
    assert len(found) > 40
    for name in ("decimal-comma-last", "thousands-last", "name-comma", "extra-cells", "short-row"):
        assert "cells: must be" in found[name]
    for name in ("float32-three-arms", "p47-six-decimals", "p-over-1", "bom", "user-nan"):
        assert found[name].endswith(" rows"), name
    assert "a: [0,1]: a counts the actions" in found["a-from-zero"]
    assert "'1_0'" in found["underscore"]


def test_the_corpus_holds_some_three_hundred_cases() -> None:
    tables = len(WRONG_CELLS) + len(ENDINGS) * (len(RIGHT_CELLS) + len(CSV_FILES))
    assert tables + len(parquet_columns()) + len(WRONG_FIELDS) + len(WRONG_LINES) > 300
    assert set(ROW) >= {column for column, *_ in WRONG_CELLS}
