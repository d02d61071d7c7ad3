"""The allow-list of explorers and their parameters: what a campaign may set, and the resulting command line.

Arguments of the engine are code (`-f` writes files), so they are never taken from input: a campaign names parameters,
and only entries of this list become words of the command line.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from bandit.errors import CorruptModel, FieldError, InvalidInput

DEFAULT_EXPLORER = "squarecb"
# The defaults were measured for rewards whose usual event is worth about 1: docs/notebook/default-policy.md.
GAMMA_SCALE = 1000.0  # the engine's own 10 explores far too long
LEARNING_RATE = 0.1
# With few actions, each gets many events, and can be learned more slowly and with less noise.
FEW_ACTIONS = 24
LEARNING_RATE_OF_FEW = 0.03
POWER_T = 0.4  # slower decay than the engine's 0.5, so that the model can follow users who get used to messages
SPREAD = 0.3
INTERACTIONS = ("UC", "UM", "UT", "CT", "US", "HC", "HS")  # namespaces of bandit/decide/features.py

LOWEST_FLOOR = 1e-6
LARGEST_REWARD = 1e15

Explorer = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One parameter that a campaign may set: its allowed values, and its form on the command line."""

    name: str
    kind: type[bool] | type[int] | type[float]
    default: bool | int | float
    lowest: float = 0.0
    highest: float = 1.0
    negated: bool = False  # set as a reward, passed on as a cost

    def fault(self, value: str | int | float) -> str | None:
        """What is wrong with the value, or None."""
        accepted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, accepted) or isinstance(value, bool) is not (self.kind is bool):
            return f"{value!r} is not of type {self.kind.__name__}"
        if not self.lowest <= value <= self.highest:
            return f"{value!r} is outside [{self.lowest:g}, {self.highest:g}]"
        return None

    def text(self, value: str | int | float) -> str:
        """The words on the command line; empty for a flag that is off."""
        if self.kind is bool:
            return self.name if value else ""
        number = int(value) if self.kind is int else float(value)
        return f"{self.name} {0.0 - number if self.negated else number!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Algorithm:
    """One explorer of the allow-list: its switch, and the parameters that only it has."""

    switch: str
    options: Mapping[str, _Option]


# Ranges and defaults from the engine's sources (reductions/cb/cb_explore_adf_*.cc) unless measured otherwise.
# Not on the list: `elim` (before training, it gives probabilities below zero) and l1, l2 (a saved model forgets them).
_COMMON: Mapping[str, _Option] = MappingProxyType(
    {
        "coin": _Option(name="--coin", kind=bool, default=True),
        "bits": _Option(name="-b", kind=int, default=20, lowest=18, highest=24),
    }
)
# Without it only the state of the first of several learners is saved, and a loaded model learns on differently.
_SAVED_WHOLE = "--per_model_save_load"
# An option of ours, not of the engine: see Engine.learn. Only for explorers that learn without importance weights.
_SPREAD = "--spread"
_UNWEIGHTED: Mapping[str, _Option] = MappingProxyType(
    {"spread": _Option(name=_SPREAD, kind=float, default=SPREAD, highest=LARGEST_REWARD)}
)
_RATES: Mapping[str, _Option] = MappingProxyType(
    {
        "learning_rate": _Option(name="--learning_rate", kind=float, default=LEARNING_RATE, lowest=1e-6, highest=100),
        "power_t": _Option(name="--power_t", kind=float, default=POWER_T),
    }
)
_ALGORITHMS: Mapping[str, _Algorithm] = MappingProxyType(
    {
        "squarecb": _Algorithm(
            switch="--squarecb",
            options={
                "gamma_scale": _Option(name="--gamma_scale", kind=float, default=GAMMA_SCALE, highest=1e9),
                "gamma_exponent": _Option(name="--gamma_exponent", kind=float, default=0.5),
                **_UNWEIGHTED,
            },
        ),
        "regcb": _Algorithm(
            switch="--regcb",
            options={
                "optimistic": _Option(name="--regcbopt", kind=bool, default=True),
                "mellowness": _Option(name="--mellowness", kind=float, default=0.001, lowest=1e-9),
                "max_reward": _Option(
                    name="--cb_min_cost", kind=float, default=1.0, lowest=-1e9, highest=1e9, negated=True
                ),
                "min_reward": _Option(
                    name="--cb_max_cost", kind=float, default=-1.0, lowest=-1e9, highest=1e9, negated=True
                ),
                **_UNWEIGHTED,
            },
        ),
        "softmax": _Algorithm(
            switch="--softmax",
            options={"lambda": _Option(name="--lambda", kind=float, default=1.0, highest=1e9)},
        ),
        "bag": _Algorithm(
            switch=_SAVED_WHOLE, options={"bag": _Option(name="--bag", kind=int, default=5, lowest=1, highest=16)}
        ),
        "cover": _Algorithm(
            switch=_SAVED_WHOLE,
            options={
                "cover": _Option(name="--cover", kind=int, default=4, lowest=1, highest=16),
                "psi": _Option(name="--psi", kind=float, default=1.0, highest=100),
            },
        ),
        "rnd": _Algorithm(
            switch=_SAVED_WHOLE,
            options={
                "rnd": _Option(name="--rnd", kind=int, default=1, lowest=1, highest=8),
                "rnd_alpha": _Option(name="--rnd_alpha", kind=float, default=0.1, lowest=1e-6, highest=100),
                "rnd_invlambda": _Option(name="--rnd_invlambda", kind=float, default=0.1, lowest=1e-6, highest=100),
            },
        ),
        "epsilon": _Algorithm(switch="", options={"epsilon": _Option(name="--epsilon", kind=float, default=0.05)}),
    }
)
_FIRST_WORDS = "--cb_explore_adf --cb_type mtr --clip_p"
_LAST_WORDS = " ".join(f"--interactions {pair}" for pair in INTERACTIONS) + " --quiet"


@lru_cache(maxsize=1)
def _allowed_text() -> re.Pattern[str]:
    options = [*_COMMON.values(), *_RATES.values()]
    for algorithm in _ALGORITHMS.values():
        options.extend(algorithm.options.values())
    switches = [algorithm.switch for algorithm in _ALGORITHMS.values() if algorithm.switch]
    names = "|".join([*switches, *(option.name for option in options)])
    number = "-?[0-9][0-9.e+-]*"
    return re.compile(rf"{_FIRST_WORDS} {number}(?: (?:{names})(?: {number})?)*(?: --interactions [A-Z]{{2}})* --quiet")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArguments:
    """The canonical command line of a lineage: models with equal command lines can train and load each other's bytes.

    Raises:
        CorruptModel: the text (for example of a stored manifest) has words that the allow-list never writes.
    """

    text: str

    def __post_init__(self) -> None:
        if not _allowed_text().fullmatch(self.text):
            raise CorruptModel(f"the arguments {self.text!r} are not built from the allow-list")

    @property
    def words(self) -> list[str]:
        """The arguments with which the engine is started."""
        words = self.text.split()
        if _SPREAD in words:
            place = words.index(_SPREAD)
            del words[place : place + 2]
        return words

    @property
    def spread(self) -> float | None:
        """Distance of the two taught values of an event from its reward.

        None for explorers that weigh by propensity.
        """
        words = self.text.split()
        return float(words[words.index(_SPREAD) + 1]) if _SPREAD in words else None


def engine_arguments(explorer: Explorer, *, floor: float, defaults: Explorer = MappingProxyType({})) -> EngineArguments:
    """The command line of an explorer and its parameters, with every default written out.

    Args:
        explorer: "explorer" and its parameters, e.g. {"explorer": "squarecb", "gamma_scale": 1000.0}. For regcb,
            min_reward and max_reward are the bounds of its predictions: use the bounds of the campaign's reward.
        floor: in [1e-6, 1]; importance weights are clipped at 1 / floor, which bounds how much one event can teach.
        defaults: override the general defaults, for those of these parameters that the explorer has.

    Raises:
        InvalidInput: unknown names, wrong types, values out of range; all of them at once.
    """
    known = _options_for(explorer)
    explorer = {**{key: value for key, value in defaults.items() if key in known}, **explorer}
    errors = [*_faults(explorer)]
    if not LOWEST_FLOOR <= floor <= 1.0:
        errors.append(FieldError(field="policy.floor", message=f"{floor!r} is outside [{LOWEST_FLOOR:g}, 1]"))
    if errors:
        raise InvalidInput(errors)
    algorithm = _ALGORITHMS[str(explorer.get("explorer", DEFAULT_EXPLORER))]
    options = {**algorithm.options, **_common_options(explorer)}
    words = [option.text(explorer.get(key, option.default)) for key, option in options.items()]
    text = " ".join(filter(None, [_FIRST_WORDS, repr(float(floor)), algorithm.switch, *words, _LAST_WORDS]))
    return EngineArguments(text=text)


def _faults(explorer: Explorer) -> Iterator[FieldError]:
    name = explorer.get("explorer", DEFAULT_EXPLORER)
    if name not in _ALGORITHMS:
        yield _fault("explorer", f"{name!r} is not one of {', '.join(_ALGORITHMS)}")
    options = _options_for(explorer)
    for key, value in explorer.items():
        if key == "explorer":
            continue
        if key not in options:
            yield _fault(key, f"unknown parameter of {name!r}: it takes {', '.join(options)}")
        elif (fault := options[key].fault(value)) is not None:
            yield _fault(key, fault)
    yield from _reward_range_faults(explorer, options)


def _options_for(explorer: Explorer) -> Mapping[str, _Option]:
    return {**_common_options(explorer), **_options_of(explorer.get("explorer", DEFAULT_EXPLORER))}


def _common_options(explorer: Explorer) -> Mapping[str, _Option]:
    """The options of every explorer; learning rate and decay exist only if coin betting does not set them."""
    # Coin betting suits explorers that learn whole groups, whose rate would depend on the number of actions in a group.
    algorithm = _ALGORITHMS.get(str(explorer.get("explorer", DEFAULT_EXPLORER)))
    coin = replace(_COMMON["coin"], default=algorithm is None or "spread" not in algorithm.options)
    rates = {} if explorer.get("coin", coin.default) is True else _RATES
    return {**_COMMON, "coin": coin, **rates}


def _fault(name: str, message: str) -> FieldError:
    return FieldError(field=f"policy.vw.{name}", message=message)


def _options_of(name: object) -> Mapping[str, _Option]:
    """The explorer's own options; for an unknown explorer those of all explorers, so that they are checked as well."""
    if name in _ALGORITHMS:
        return _ALGORITHMS[str(name)].options
    return {key: option for algorithm in _ALGORITHMS.values() for key, option in algorithm.options.items()}


def _reward_range_faults(explorer: Explorer, options: Mapping[str, _Option]) -> Iterator[FieldError]:
    if "min_reward" not in options:
        return
    low, high = (explorer.get(key, options[key].default) for key in ("min_reward", "max_reward"))
    both_are_numbers = options["min_reward"].fault(low) is None and options["max_reward"].fault(high) is None
    if both_are_numbers and float(low) >= float(high):
        yield _fault("min_reward", f"{low!r} is not below max_reward, {high!r}")
