"""The only importer of vowpalwabbit: model bytes in, pmf out, learn, bytes out. Cost, minus reward, is only here.

Prediction takes action examples that own their memory (`Workspace.example`), not those of `Workspace.parse`, which
belong to a pool: returning a pooled action example after a `learn` reads beyond its predictions and kills the process.
The shared example comes from the pool, which takes a fifth of the time. It is returned before anything else is done:
the engine then looks at the group that it observed last, which had no label, and so does not look at the actions.
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

SMALLEST_NUMBER = 1e-25  # except zero; the engine reads smaller numbers as zero

# Per generation, of which there are two. An example takes about 30 KB whatever its line, because the engine has a place
# for each of 256 namespaces in it. The cache is larger if one group is larger.
CACHED_EXAMPLES = 512
CACHED_GROUP_LINES = 100_000  # in all groups together


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The label of one decision for training."""

    action_index: int  # place of the chosen action among the actions of its group
    reward: float  # higher is better; at most 1e15 either way
    propensity: float  # probability with which it was chosen; in (0, 1]


class Engine:
    """One VW workspace. It must not be used by several threads at once.

    Raises:
        CorruptModel: the model does not load, or has other arguments than these. Altered weights load without an error:
            compare the digest first.
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
        """One score per action: the engine's pmf in float32, whose sum is not even near 1 if regcb has ties.

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
        # Without the wrappers, which look up the kinds of label and of prediction in every call.
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

        squarecb and regcb learn without importance weights, from the line of the chosen action alone. In a group, the
        engine would divide its weight by the number of actions, so that no learning rate would suit both three and
        seventy actions, and most of the time would be spent on lines that teach nothing.

        They learn it twice: with the reward minus the spread and with the reward plus the spread. The squared loss has
        the same minimum, but now every event counts for the adaptive rates, not only errors. Where responses are rare,
        errors stay small for a long time, and the rates of rare features stay at their initial height. The first click
        then moves the predictions far below every reward ever seen; in simulations silence then won forever.

        Raises:
            InvalidPropensity: the label's propensity is not in (0, 1]; the engine would not learn any more.
            InvalidInput: the reward or a feature is not finite or too large, the index or a line is wrong.
        """
        workspace = self._opened()
        _check_label(label, len(actions))
        _check_line("shared", shared, "shared |")
        _check_actions(tuple(actions))
        for lines in self._lessons(shared, actions, label):
            _learn_lines(workspace, lines)

    def expected(self, shared: str, action: str) -> float | None:
        """The reward that the model expects of one action; None for explorers that weigh by propensity.

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
        """The groups with which one event is taught."""
        action = actions[label.action_index]
        if self._spread is None:
            lines = [shared, *actions]
            lines[1 + label.action_index] = f"{_label_text(label.reward, label.propensity)} {action}"
            yield lines
        else:
            for reward in (label.reward - self._spread, label.reward + self._spread):
                yield [shared, f"{_label_text(reward, 1.0)} {action}"]

    def experience(self) -> float:
        """How much the engine was taught: the sum of the sizes of all gradients of its constant's weight.

        It is 0 before training, grows with every event that teaches anything, never shrinks, and is saved with the
        model. How fast it grows depends on the rewards. It is infinite or NaN if the weights are.
        """
        workspace, place = self._opened(), _constant_place(self.arguments)
        learners = range(place.learners)
        weights = [workspace.get_weight(_CONSTANT * place.learners + one, 0) for one in learners]
        sizes = [workspace.get_weight(_CONSTANT * place.learners + one, place.sizes) for one in learners]
        return float(sum(sizes)) if all(map(isfinite, weights)) else nan

    def to_bytes(self) -> bytes:
        """The whole model: an engine that loads it predicts the same and learns on in the same way."""
        workspace = self._opened()
        with TemporaryDirectory() as folder:
            path = Path(folder, "model")
            workspace.save(path)
            return path.read_bytes()

    def forget_learned(self) -> None:
        """Resets the engine to an untrained one with the same arguments."""
        self.close()
        self._workspace = _created(self.arguments)

    def forget_parsed(self) -> None:
        """Releases parsed examples one by one; the engine does not change, and may be in use.

        If thousands are released at once, as with the engine's last reference, all other threads wait for 40 ms.
        """
        self._groups.clear()
        for examples in (self._examples, self._older_examples):
            for line in list(examples):
                examples.pop(line, None)

    def close(self) -> None:
        """Frees the memory; a second call does nothing. Any other use afterwards raises SendoptError."""
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
        """The examples of the lines; those that are not cached are parsed."""
        if not actions:
            raise InvalidInput([FieldError(field="actions", message="empty: there must be at least one")])
        if len(set(actions)) < len(actions):
            # The engine computes inside the examples: an example that is twice in a group gives wrong numbers.
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
        """Starts a new generation; examples that were used in the last two generations stay parsed."""
        if len(self._examples) >= max(CACHED_EXAMPLES, self._largest_group):
            self._older_examples, self._examples = self._examples, {}
            self._groups.clear()  # they refer to examples too
            self._group_lines = 0
        elif self._group_lines >= CACHED_GROUP_LINES:
            self._groups.clear()
            self._group_lines = 0


_CONSTANT = 11650396  # the engine's index of the feature that every example has (vw/core/constant.h)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConstantPlace:
    """Where the engine keeps the learning state of its constant."""

    learners: int  # weights of one feature: one per learner, rounded up to a power of two
    sizes: int  # offset of the summed gradients: of their squares, or under coin betting of their absolute values


@lru_cache(maxsize=256)
def _constant_place(arguments: EngineArguments) -> _ConstantPlace:
    """The place, found with an engine that has learned only the constant and two other features."""
    sizes = 2 if "--coin" in arguments.text.split() else 1
    with Engine(arguments) as engine:
        for _ in range(20):  # some learners of a bag skip some events
            engine.learn("shared |U", ["|S a", "|S b"], Label(action_index=0, reward=1.0, propensity=0.5))
        for power in range(8):
            indexes = [_CONSTANT * 2**power + one for one in range(2**power)]
            if any(engine._opened().get_weight(index, sizes) for index in indexes):
                return _ConstantPlace(learners=2**power, sizes=sizes)
    raise SendoptError(f"the engine's constant is not at the expected place, with the arguments {arguments.text!r}")


def _learn_lines(workspace: Workspace, lines: Sequence[str]) -> None:
    """Teaches one group through the binding itself: the package's wrappers take far longer."""
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
            # No other option: an option given here would silently replace the saved one.
            workspace = Workspace(arg_list=["-i", file.name, "--quiet"])
        except RuntimeError as error:
            raise CorruptModel(f"{len(model)} bytes do not load as a model: {error}") from error
    found, expected = _kept_options(workspace.get_arguments()), _expected_options(arguments)
    if found != expected:
        workspace.finish()
        raise CorruptModel(f"the model was trained with {found}, its manifest says {expected}")
    return workspace


# Options about the file and the random state of a loaded model, or options that are not saved because they change no
# prediction.
_PASSING_OPTIONS = frozenset({"initial_regressor", "no_predict", "no_stdin", "quiet", "random_seed"})


def _kept_options(text: str) -> tuple[str, ...]:
    """The arguments as the engine reports them, sorted, without those that are not part of the model."""
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


# The engine reads the shortest form of a float64 (`repr`) correctly up to two-digit exponents. Beyond that, its
# exponent wraps at 8 bits: 2.5e-178 is read as infinity, and the pmf is NaN. Weights of 1e10 overflow float32 in an
# interaction, and the event teaches nothing; nine digits are safe.
_BAD_WEIGHT = re.compile(r":(?!-?[0-9]{1,9}(?:\.[0-9]{1,20})?(?:e-[0-9]{2})?(?: |$))[^ ]*")


@lru_cache(maxsize=128)
def _check_actions(actions: tuple[str, ...]) -> None:
    """The check of `_check_line`, cached for repeated lines; an error is not cached."""
    for action in actions:
        _check_line("actions", action, "|")


def _check_line(field: str, line: str, start: str) -> None:
    """Refuses a line unless the engine reads it as exactly one unlabelled example with the weights as written."""
    if not (line.startswith(start) and line.isascii() and line.isprintable()):
        message = f"{line[:80]!r} is not one line of printable ASCII that starts with {start!r}"
        raise InvalidInput([FieldError(field=field, message=message)])
    if (weight := _BAD_WEIGHT.search(line)) is not None:
        message = f"the weight {weight[0][1:81]!r} is not a decimal number below 1e9 that the engine reads as written"
        raise InvalidInput([FieldError(field=field, message=message)])


def _label_text(reward: float, propensity: float) -> str:
    return f"0:{_number(-reward)}:{_number(propensity)}"


def _number(value: float) -> str:
    """The number in a form that the engine reads correctly; it would read much smaller ones as zero or infinity."""
    return f"{value:.9g}" if abs(value) >= SMALLEST_NUMBER else "0"


def digest(model: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return sha256(model).hexdigest()


def engine_version() -> str:
    """The version of the installed engine."""
    return str(vowpalwabbit.__version__)
