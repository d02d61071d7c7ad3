"""`explorers`: what a campaign may set of an explorer, and the command line that it gives."""

from math import inf, nan

import pytest

from bandit.engine.explorers import EngineArguments, engine_arguments
from bandit.errors import CorruptModel, InvalidInput

DEFAULT = engine_arguments({}, floor=0.02)


def test_the_default_command_line_writes_every_default_out() -> None:
    assert DEFAULT.text == (
        "--cb_explore_adf --cb_type mtr --clip_p 0.02 --squarecb --gamma_scale 1000.0 --gamma_exponent 0.5 "
        "--spread 0.3 -b 20 --learning_rate 0.1 --power_t 0.4 "
        "--interactions UC --interactions UM --interactions UT "
        "--interactions CT --interactions US --interactions HC --interactions HS --quiet"
    )


def test_the_same_parameters_give_the_same_lineage_however_they_are_written() -> None:
    written_out: dict[str, str | float] = {"bits": 20, "gamma_scale": 1000, "explorer": "squarecb", "coin": False}

    assert engine_arguments(written_out, floor=0.02) == DEFAULT


def test_another_parameter_is_another_lineage() -> None:
    assert engine_arguments({"gamma_scale": 10.0}, floor=0.02) != DEFAULT
    assert engine_arguments({}, floor=0.03) != DEFAULT


@pytest.mark.parametrize(
    ("explorer", "words"),
    [
        ({"explorer": "regcb"}, "--regcb --regcbopt --mellowness 0.001 --cb_min_cost -1.0 --cb_max_cost 1.0"),
        ({"explorer": "regcb", "optimistic": False}, "0.02 --regcb --mellowness"),
        ({"explorer": "regcb", "min_reward": -5, "max_reward": 2.5}, "--cb_min_cost -2.5 --cb_max_cost 5.0"),
        ({"explorer": "regcb", "min_reward": 0}, "--cb_max_cost 0.0 "),
        ({"explorer": "softmax", "lambda": 4}, "--softmax --lambda 4.0 "),
        ({"explorer": "bag", "bag": 7}, "--bag 7 "),
        ({"explorer": "cover", "psi": 0.5}, "--cover 4 --psi 0.5 "),
        ({"explorer": "rnd"}, "--rnd 1 --rnd_alpha 0.1 --rnd_invlambda 0.1 "),
        ({"explorer": "epsilon", "epsilon": 0.2}, "--epsilon 0.2 "),
        ({"learning_rate": 2, "bits": 22}, "-b 22 --learning_rate 2.0 --power_t 0.4 "),
        ({"spread": 0}, "--spread 0.0 "),
    ],
)
def test_a_parameter_is_said_in_the_words_of_the_engine(explorer: dict[str, str | float], words: str) -> None:
    assert words in engine_arguments(explorer, floor=0.02).text


@pytest.mark.parametrize(
    ("explorer", "field"),
    [
        ({"explorer": "linucb"}, "explorer"),
        ({"explorer": "squarecb -f x"}, "explorer"),
        ({"explorer": 3}, "explorer"),
        ({"final_regressor": "x"}, "final_regressor"),
        ({"gamma_scale": "1000 -f x"}, "gamma_scale"),
        ({"gamma_scale": -1.0}, "gamma_scale"),
        ({"gamma_scale": nan}, "gamma_scale"),
        ({"gamma_scale": inf}, "gamma_scale"),
        ({"gamma_scale": True}, "gamma_scale"),
        ({"gamma_scale": 10**400}, "gamma_scale"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"power_t": 1.5}, "power_t"),
        ({"bits": 17}, "bits"),
        ({"bits": 20.0}, "bits"),
        ({"bits": 40}, "bits"),
        ({"l2": 1e-6}, "l2"),
        ({"epsilon": 0.1}, "epsilon"),
        ({"explorer": "bag", "bag": 0}, "bag"),
        ({"explorer": "bag", "spread": 0.3}, "spread"),
        ({"spread": -0.1}, "spread"),
        ({"spread": 1e16}, "spread"),
        ({"coin": True, "learning_rate": 0.1}, "learning_rate"),
        ({"explorer": "regcb", "optimistic": 1}, "optimistic"),
        ({"explorer": "regcb", "min_reward": 1.0}, "min_reward"),
        ({"explorer": "regcb", "min_reward": 3, "max_reward": 2}, "min_reward"),
        ({"explorer": "regcb", "max_reward": "2"}, "max_reward"),
    ],
)
def test_what_the_allow_list_does_not_hold_is_refused_by_name(explorer: dict[str, str | float], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        engine_arguments(explorer, floor=0.02)

    assert [error.field for error in refusal.value.errors] == [f"policy.vw.{field}"]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong: dict[str, str | float] = {
        "explorer": "best",
        "bits": 17,
        "learning_rate": "fast",
        "gamma_scale": -1.0,
        "no_such": 1,
    }
    with pytest.raises(InvalidInput) as refusal:
        engine_arguments(wrong, floor=0.0)

    fields = {error.field for error in refusal.value.errors}
    assert fields == {"policy.floor", *(f"policy.vw.{name}" for name in wrong)}


@pytest.mark.parametrize("floor", [0.0, 1e-7, 1.1, -0.1, nan])
def test_a_floor_outside_its_range_is_refused(floor: float) -> None:
    with pytest.raises(InvalidInput, match=r"policy\.floor"):
        engine_arguments({}, floor=floor)


@pytest.mark.parametrize("floor", [1e-6, 0.02, 1.0])
def test_propensities_are_clipped_at_the_floor_at_most(floor: float) -> None:
    assert float(engine_arguments({}, floor=floor).text.split("--clip_p ")[1].split()[0]) <= floor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--cb_explore_adf",
        "-f /tmp/x " + DEFAULT.text,
        DEFAULT.text + " -f /tmp/x",
        DEFAULT.text.replace("--squarecb", "--squarecb -f x"),
        DEFAULT.text.replace("--squarecb", "--squarecb --final_regressor 1"),
        DEFAULT.text.replace("--squarecb", "--squarecb\n--squarecb"),
        DEFAULT.text.replace("1000.0", "x"),
    ],
)
def test_a_command_line_from_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(CorruptModel, match="allow-list"):
        EngineArguments(text=text)
