"""The only importer of vowpalwabbit: model bytes in, pmf out, learn, bytes out. Cost, minus reward, exists only here.

Prediction takes action examples that own their memory (`Workspace.example`), not those of `Workspace.parse`, which
belong to a pool: returning a pooled action example after a `learn` reads beyond its predictions and kills the process.
The shared example is pooled, a fifth of the time of an own one, and returned before anything else is done: the engine
then looks at what it observed last, which was a group without a label, and so not at the actions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import pylibvw
import vowpalwabbit
from vowpalwabbit import LabelType, Workspace

from bandit.engine.explorers import LARGEST_REWARD, EngineArguments
from bandit.errors import CorruptModel, FieldError, InvalidInput, InvalidPropensity, SendoptError

SMALLEST_NUMBER = 1e-25  # but zero; the engine reads smaller ones as zero

# In a generation, of which there are two; about 30 KB each, whatever the line: the engine has a place for each of 256
# namespaces in every example. More where one group is larger.
CACHED_EXAMPLES = 512
CACHED_GROUP_LINES = 100_000  # in all groups together


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
        """Teaches the engine one event, from text, and checks the label first.

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
