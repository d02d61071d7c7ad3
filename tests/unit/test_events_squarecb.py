"""The engine on values, and its pmf as a formula."""

import numpy as np
import pytest

from bandit.engine.events import squarecb
from bandit.engine.events.arguments import value_arguments
from bandit.engine.events.squarecb import ValueEngine
from bandit.engine.explorers import EngineArguments, Explorer, engine_arguments
from tests.support.event_logs import ARGUMENTS


@pytest.mark.parametrize("unit", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("actions", [2, 17, 300])
def test_the_formula_gives_what_the_engine_answers(unit: float, actions: int) -> None:
    rng = np.random.default_rng(1)
    explorer: Explorer = {"explorer": "squarecb", "gamma_scale": 1000.0 / unit, "spread": 0.3 * unit}
    arguments = value_arguments(engine_arguments(explorer, floor=0.02))
    engine = ValueEngine(arguments, unit)
    for value in rng.uniform(-0.2, 0.5, 40):
        engine.learn(float(value) * unit, float(rng.random() < value) * unit)
    values = (rng.uniform(-0.1, 0.4, (actions, 5)) * unit).astype(np.float32)
    assert engine.uses_formula
    assert engine.pmf(values) == pytest.approx(engine._asked(values), abs=2e-5)
    assert engine.pmf(values).sum() == pytest.approx(1.0, abs=1e-6)


def test_untaught_a_point_of_value_is_worth_about_a_point_of_reward() -> None:
    with_unit = ValueEngine(ARGUMENTS.value, 1.0)
    assert with_unit.slope == pytest.approx(1.0, abs=0.1)
    assert with_unit.expected(0.0) == pytest.approx(0.0, abs=0.1)


def test_where_the_formula_does_not_hold_the_engine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[0.1], [0.4], [0.2]], dtype=np.float32)
    right = ValueEngine(ARGUMENTS.value, 1.0).pmf(values)
    monkeypatch.setattr(squarecb, "squarecb", lambda costs: np.full(len(costs), 1 / len(costs)))
    engine = ValueEngine(ARGUMENTS.value, 1.0)
    assert not engine.uses_formula
    assert engine.pmf(values) == pytest.approx(right, abs=1e-6)


def test_the_best_of_equal_values_has_what_is_left() -> None:
    pmf = squarecb.squarecb(np.zeros((4, 3), dtype=np.float32))
    assert pmf == pytest.approx(np.full(4, 0.25))


def test_a_loaded_engine_answers_as_the_one_that_was_stored() -> None:
    engine = ValueEngine(ARGUMENTS.value, 1.0)
    engine.learn(0.3, 1.0)
    loaded = ValueEngine(ARGUMENTS.value, 1.0, engine.to_bytes(), engine.lessons)
    values = np.array([[0.1], [0.4], [0.2]], dtype=np.float32)
    assert loaded.pmf(values).tolist() == engine.pmf(values).tolist()


def test_the_arguments_have_no_interactions() -> None:
    assert isinstance(ARGUMENTS.value, EngineArguments)
    assert "--interactions" not in ARGUMENTS.value.text
