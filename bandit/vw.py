"""The only importer of vowpalwabbit: model bytes in, pmf out, learn, bytes out. Cost, minus reward, exists only here.

Prediction takes action examples that own their memory (`Workspace.example`), not those of `Workspace.parse`, which
belong to a pool: returning a pooled action example after a `learn` reads beyond its predictions and kills the process.
The shared example is pooled, a fifth of the time of an own one, and returned before anything else is done: the engine
then looks at what it observed last, which was a group without a label, and so not at the actions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import MappingProxyType, TracebackType
from typing import Any, Self

import pylibvw
import vowpalwabbit
from vowpalwabbit import LabelType, Workspace

from bandit.errors import CorruptModel, FieldError, InvalidInput, InvalidPropensity, SendoptError

DEFAULT_EXPLORER = "squarecb"
# The defaults are measured, for rewards whose usual event is worth about 1: docs/learning.md.
GAMMA_SCALE = 1000.0  # the engine's own 10 explores far too long
LEARNING_RATE = 0.1
POWER_T = 0.4  # rates fall slower than by the engine's 0.5: users get used to messages, and the model must follow
SPREAD = 0.3
INTERACTIONS = ("UC", "UM", "UT", "CT", "US", "HC", "HS")  # namespaces as bandit/features.py emits them

LOWEST_FLOOR = 1e-6
SMALLEST_NUMBER = 1e-25  # but zero; the engine reads smaller ones as zero
LARGEST_REWARD = 1e15

# In a generation, of which there are two; about 30 KB each, whatever the line: the engine has a place for each of 256
# namespaces in every example. More where one group is larger.
CACHED_EXAMPLES = 512
CACHED_GROUP_LINES = 100_000  # in all groups together

Explorer = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One parameter that a campaign may set: what it may be, and how the command line says it."""

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
        """The words on the command line; none for a flag that is off."""
        if self.kind is bool:
            return self.name if value else ""
        number = int(value) if self.kind is int else float(value)
        return f"{self.name} {0.0 - number if self.negated else number!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Algorithm:
    """One explorer of the allow-list: its switch, and the parameters that only it has."""

    switch: str
    options: Mapping[str, _Option]


# Ranges and defaults from the engine's sources (reductions/cb/cb_explore_adf_*.cc) unless measured otherwise. Not
# offered: `elim` (untaught, it answers with probabilities below zero) and l1, l2 (a saved model forgets them).
_COMMON: Mapping[str, _Option] = MappingProxyType(
    {
        "coin": _Option(name="--coin", kind=bool, default=True),
        "bits": _Option(name="-b", kind=int, default=20, lowest=18, highest=24),
    }
)
# Without it only the first of several learners has its learning state saved, and a loaded model learns on differently.
_SAVED_WHOLE = "--per_model_save_load"
# Ours, not the engine's: see Engine.learn. Only of explorers that learn without importance weights.
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
    """The canonical command line of a lineage: two equal ones train and load each other's models.

    Raises:
        CorruptModel: the text (a stored manifest's, say) holds what the allow-list never writes; arguments are code.
    """

    text: str

    def __post_init__(self) -> None:
        if not _allowed_text().fullmatch(self.text):
            raise CorruptModel(f"the arguments {self.text!r} are not built from the allow-list")

    @property
    def words(self) -> list[str]:
        """What the engine is started with."""
        words = self.text.split()
        if _SPREAD in words:
            place = words.index(_SPREAD)
            del words[place : place + 2]
        return words

    @property
    def spread(self) -> float | None:
        """How far the two lessons of an event lie from its reward; None for explorers that weigh by propensity."""
        words = self.text.split()
        return float(words[words.index(_SPREAD) + 1]) if _SPREAD in words else None


def engine_arguments(explorer: Explorer, *, floor: float) -> EngineArguments:
    """The command line of an explorer and its parameters, with every default written out.

    Args:
        explorer: "explorer" and its parameters, e.g. {"explorer": "squarecb", "gamma_scale": 1000.0}. For regcb,
            min_reward and max_reward bound what it thinks possible: give it the bounds of the campaign's reward.
        floor: in [1e-6, 1]; importance weights are clipped at 1 / floor, which bounds how much one event can teach.

    Raises:
        InvalidInput: an unknown name, a wrong type, a value out of range; every one of them.
    """
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
    options = {**_common_options(explorer), **_options_of(name)}
    for key, value in explorer.items():
        if key == "explorer":
            continue
        if key not in options:
            yield _fault(key, f"unknown parameter of {name!r}: it takes {', '.join(options)}")
        elif (fault := options[key].fault(value)) is not None:
            yield _fault(key, fault)
    yield from _reward_range_faults(explorer, options)


def _common_options(explorer: Explorer) -> Mapping[str, _Option]:
    """The options of every explorer; a learning rate and its decay exist only where coin betting does not set them."""
    # Coin betting suits those that learn whole groups, whose rate would depend on how many actions a group has.
    algorithm = _ALGORITHMS.get(str(explorer.get("explorer", DEFAULT_EXPLORER)))
    coin = replace(_COMMON["coin"], default=algorithm is None or "spread" not in algorithm.options)
    rates = {} if explorer.get("coin", coin.default) is True else _RATES
    return {**_COMMON, "coin": coin, **rates}


def _fault(name: str, message: str) -> FieldError:
    return FieldError(field=f"policy.vw.{name}", message=message)


def _options_of(name: object) -> Mapping[str, _Option]:
    """The explorer's own options; those of all explorers for an unknown one, so that they are checked all the same."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What one decision teaches."""

    action_index: int  # of the action that was taken, among the actions of its group
    reward: float  # higher is better; at most 1e15 either way
    propensity: float  # with which it was taken; in (0, 1]


class Engine:
    """One VW workspace. Not for several threads at once.

    Raises:
        CorruptModel: the model does not load, or with other arguments than these. Altered weights load without a
            murmur: compare the digest first.
    """

    def __init__(self, arguments: EngineArguments, model: bytes | None = None) -> None:
        self.arguments = arguments
        workspace = _created(arguments) if model is None else _loaded(arguments, model)
        self._workspace: Workspace | None = workspace
        self._examples: dict[str, Any] = {}
        self._older_examples: dict[str, Any] = {}
        self._groups: dict[tuple[str, ...], list[Any]] = {}
        self._group_lines = 0
        self._largest_group = 0
        self._spread = arguments.spread

    def predict(self, shared: str, actions: Sequence[str]) -> list[float]:
        """One score per action, the pmf as the engine gives it: float32, and with regcb's ties not even near sum 1.

        Args:
            shared: one line, "shared |...".
            actions: at least one line, "|..."; parsed once and cached by line, whole tuples too.

        Raises:
            InvalidInput: no action, or a line that would not be read as exactly one example of its kind.
        """
        workspace = self._opened()
        _check_line("shared", shared, "shared |")
        key = tuple(actions)
        group = self._groups.get(key) or self._group(key)
        # Without the wrappers, which look the kind of label and of prediction up anew for every call.
        pooled = pylibvw.vw._parse(workspace, shared)
        pylibvw.vw.predict_multi(workspace, [*pooled, *group])
        scores: list[float] = pooled[0].get_action_scores()
        pylibvw.vw._finish_example_multi_ex(workspace, pooled)
        if len(scores) != len(key):
            raise InvalidInput(
                [FieldError(field="actions", message=f"{len(key)} lines were read as {len(scores)} actions")]
            )
        return scores

    def learn(self, shared: str, actions: Sequence[str], label: Label) -> None:
        """Teaches the engine one event, from text; the gate for labels.

        squarecb and regcb learn without importance weights, from the line of the chosen action alone. In a group the
        engine would weigh it by one over the number of actions, so that no learning rate suits both three and seventy;
        and the time would go into lines that teach nothing.

        They learn it twice, with the reward less the spread and with the reward and the spread. The squared loss has
        the same minimum, but to the adaptive rates each event now counts, not only each surprise. Where responses are
        rare there is no surprise for long, the rates of rare features stay at their first height, and the first
        click throws the predictions far below every reward that was ever seen: in simulation silence then won for good.

        Raises:
            InvalidPropensity: the label's propensity is not in (0, 1]; the engine would freeze for good.
            InvalidInput: the reward or a feature is not finite or too large, the index or a line is wrong.
        """
        workspace = self._opened()
        _check_label(label, len(actions))
        _check_line("shared", shared, "shared |")
        _check_actions(tuple(actions))
        for lines in self._lessons(shared, actions, label):
            _learn_lines(workspace, lines)

    def expected(self, shared: str, action: str) -> float | None:
        """The reward that it expects of one action; None with explorers that weigh by propensity.

        Raises:
            InvalidInput: a line would not be read as exactly one example of its kind.
        """
        if self._spread is None:
            return None
        workspace = self._opened()
        _check_line("shared", shared, "shared |")
        _check_actions((action,))
        examples = _parsed(workspace, [shared, action])
        pylibvw.vw.predict_multi(workspace, examples)
        cost: float = examples[1].get_partial_prediction()
        pylibvw.vw._finish_example_multi_ex(workspace, examples)
        return -cost

    def _lessons(self, shared: str, actions: Sequence[str], label: Label) -> Iterator[list[str]]:
        """The groups that one event is taught as."""
        action = actions[label.action_index]
        if self._spread is None:
            lines = [shared, *actions]
            lines[1 + label.action_index] = f"{_label_text(label.reward, label.propensity)} {action}"
            yield lines
        else:
            for reward in (label.reward - self._spread, label.reward + self._spread):
                yield [shared, f"{_label_text(reward, 1.0)} {action}"]

    def experience(self) -> float:
        """How much the engine was taught: the gradients that the weight of its constant ever saw, summed by size.

        0 untaught. It grows with every event that teaches anything, never shrinks, and is saved with the model; how
        fast it grows depends on the rewards. Infinite or NaN once the weights are.
        """
        workspace, place = self._opened(), _constant_place(self.arguments)
        learners = range(place.learners)
        weights = [workspace.get_weight(_CONSTANT * place.learners + one, 0) for one in learners]
        sizes = [workspace.get_weight(_CONSTANT * place.learners + one, place.sizes) for one in learners]
        return float(sum(sizes)) if all(map(isfinite, weights)) else nan

    def to_bytes(self) -> bytes:
        """The whole model: what loads again predicts the same and learns on as if nothing had happened."""
        workspace = self._opened()
        with TemporaryDirectory() as folder:
            path = Path(folder, "model")
            workspace.save(path)
            return path.read_bytes()

    def forget_learned(self) -> None:
        """Makes the engine as it was before anything was learned, with the same arguments."""
        self.close()
        self._workspace = _created(self.arguments)

    def forget_parsed(self) -> None:
        """Lets go of parsed examples one by one; the engine stays as it is, and may be in use.

        Thousands that go at once, as with the engine's last reference, hold every other thread up for 40 ms.
        """
        self._groups.clear()
        for examples in (self._examples, self._older_examples):
            for line in list(examples):
                examples.pop(line, None)

    def close(self) -> None:
        """Frees the memory; a second time does nothing. Any other use afterwards raises SendoptError."""
        workspace, self._workspace = self._workspace, None
        self._examples.clear()
        self._older_examples.clear()
        self._groups.clear()
        self._group_lines = 0
        if workspace is not None:
            workspace.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Workspace:
        if self._workspace is None:
            raise SendoptError("the engine is closed")
        return self._workspace

    def _group(self, actions: tuple[str, ...]) -> list[Any]:
        """The examples of the lines, parsed where they are not cached."""
        if not actions:
            raise InvalidInput([FieldError(field="actions", message="empty: there must be at least one")])
        if len(set(actions)) < len(actions):
            # The engine computes inside the examples: one that stands twice in a group gives wrong numbers.
            return [self._example(line) for line in actions]
        self._largest_group = max(self._largest_group, len(actions))
        self._make_room()
        self._group_lines += len(actions)
        group = self._groups[actions] = [self._cached_example(line) for line in actions]
        return group

    def _cached_example(self, line: str) -> Any:
        example = self._examples.get(line)
        if example is None:
            example = self._older_examples.pop(line, None) or self._example(line)
            self._examples[line] = example
        return example

    def _example(self, line: str) -> Any:
        _check_line("actions", line, "|")
        return self._opened().example(line, LabelType.CONTEXTUAL_BANDIT)

    def _make_room(self) -> None:
        """Two generations: what was used since the one before the last filling stays parsed."""
        if len(self._examples) >= max(CACHED_EXAMPLES, self._largest_group):
            self._older_examples, self._examples = self._examples, {}
            self._groups.clear()  # they hold examples too
            self._group_lines = 0
        elif self._group_lines >= CACHED_GROUP_LINES:
            self._groups.clear()
            self._group_lines = 0


_CONSTANT = 11650396  # the engine's index of the feature that every example has (vw/core/constant.h)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConstantPlace:
    """Where the engine keeps what its constant learned."""

    learners: int  # weights of one feature: one per learner, rounded up to a power of two
    sizes: int  # offset of the summed gradients: of their squares, or under coin betting of their absolute values


@lru_cache(maxsize=256)
def _constant_place(arguments: EngineArguments) -> _ConstantPlace:
    """Found with an engine that has learned nothing but the constant and two other features."""
    sizes = 2 if "--coin" in arguments.text.split() else 1
    with Engine(arguments) as engine:
        for _ in range(20):  # some learners of a bag leave some events out
            engine.learn("shared |U", ["|S a", "|S b"], Label(action_index=0, reward=1.0, propensity=0.5))
        for power in range(8):
            indexes = [_CONSTANT * 2**power + one for one in range(2**power)]
            if any(engine._opened().get_weight(index, sizes) for index in indexes):
                return _ConstantPlace(learners=2**power, sizes=sizes)
    raise SendoptError(f"the engine keeps no constant where it is looked for, with the arguments {arguments.text!r}")


def _learn_lines(workspace: Workspace, lines: Sequence[str]) -> None:
    """Teaches one group, by the binding itself: the package's wrappers spend most of the time on the kind of label."""
    examples = _parsed(workspace, lines)
    pylibvw.vw.learn_multi(workspace, examples)
    pylibvw.vw._finish_example_multi_ex(workspace, examples)


def _parsed(workspace: Workspace, lines: Sequence[str]) -> Any:
    examples = pylibvw.vw._parse(workspace, "\n".join(lines))
    if len(examples) != len(lines):
        raise InvalidInput([FieldError(field="actions", message=f"{len(lines)} lines were read as {len(examples)}")])
    return examples


def _created(arguments: EngineArguments) -> Workspace:
    return Workspace(arg_list=arguments.words)


def _loaded(arguments: EngineArguments, model: bytes) -> Workspace:
    with NamedTemporaryFile() as file:  # mode 0600, gone when the block ends
        file.write(model)
        file.flush()
        try:
            # No other option: one given here would silently replace the one that was saved.
            workspace = Workspace(arg_list=["-i", file.name, "--quiet"])
        except RuntimeError as error:
            raise CorruptModel(f"{len(model)} bytes do not load as a model: {error}") from error
    found, expected = _kept_options(workspace.get_arguments()), _expected_options(arguments)
    if found != expected:
        workspace.finish()
        raise CorruptModel(f"the model was trained with {found}, its manifest says {expected}")
    return workspace


# What a loaded model says of its file and its random state, or what is not saved because it changes no prediction.
_PASSING_OPTIONS = frozenset({"initial_regressor", "no_predict", "no_stdin", "quiet", "random_seed"})


def _kept_options(text: str) -> tuple[str, ...]:
    """The engine's own account of its arguments, which is sorted, without those that pass."""
    options = (" " + text.strip()).split(" --")[1:]
    return tuple(option for option in options if option.split(" ")[0] not in _PASSING_OPTIONS)


@lru_cache(maxsize=256)
def _expected_options(arguments: EngineArguments) -> tuple[str, ...]:
    workspace = _created(arguments)
    options = _kept_options(workspace.get_arguments())
    workspace.finish()
    return options


def _check_label(label: Label, n_actions: int) -> None:
    if not SMALLEST_NUMBER <= label.propensity <= 1.0:
        raise InvalidPropensity(f"the label's propensity is {label.propensity!r}: it must be in (0, 1]")
    errors = []
    if not abs(label.reward) <= LARGEST_REWARD:
        errors.append(FieldError(field="reward", message=f"{label.reward!r} is not a number within {LARGEST_REWARD:g}"))
    if not 0 <= label.action_index < n_actions:
        errors.append(FieldError(field="action_index", message=f"{label.action_index!r} is outside [0, {n_actions})"))
    if errors:
        raise InvalidInput(errors)


# The engine reads the shortest form of a float64 (`repr`) right up to two-digit exponents. Beyond, its own exponent
# wraps at 8 bits: 2.5e-178 is read as infinity, and the pmf is NaN. Weights of 1e10 overflow float32 where they meet
# in an interaction, and the event teaches nothing: nine digits stay clear of that.
_BAD_WEIGHT = re.compile(r":(?!-?[0-9]{1,9}(?:\.[0-9]{1,20})?(?:e-[0-9]{2})?(?: |$))[^ ]*")


@lru_cache(maxsize=128)
def _check_actions(actions: tuple[str, ...]) -> None:
    """What `_check_line` checks, once for lines that come again; an error is not remembered."""
    for action in actions:
        _check_line("actions", action, "|")


def _check_line(field: str, line: str, start: str) -> None:
    """Refuses what the engine would not read as exactly one unlabelled example with the weights as written."""
    if not (line.startswith(start) and line.isascii() and line.isprintable()):
        message = f"{line[:80]!r} is not one line of printable ASCII that starts with {start!r}"
        raise InvalidInput([FieldError(field=field, message=message)])
    if (weight := _BAD_WEIGHT.search(line)) is not None:
        message = f"the weight {weight[0][1:81]!r} is not a decimal number below 1e9 that the engine reads as written"
        raise InvalidInput([FieldError(field=field, message=message)])


def _label_text(reward: float, propensity: float) -> str:
    return f"0:{_number(-reward)}:{_number(propensity)}"


def _number(value: float) -> str:
    """The number as the engine reads it right; far below 1e-25 it would be read as zero or, wrapped, as infinity."""
    return f"{value:.9g}" if abs(value) >= SMALLEST_NUMBER else "0"


def digest(model: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return sha256(model).hexdigest()


def engine_version() -> str:
    """The version of the engine that is installed."""
    return str(vowpalwabbit.__version__)
