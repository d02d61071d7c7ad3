"""The whole error tree. A message gives the value, the rule and the field."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

# Packages that the base install lacks, and the extra that installs each.
EXTRA_OF: Mapping[str, str] = {
    "mabwiser": "dev",
    "matplotlib": "study",
    "pandas": "study",
    "psycopg": "postgres",
    "pyarrow": "study",
    "sklearn": "study",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with one field of an input."""

    field: str  # dotted path inside the input, e.g. "user.timezone"
    message: str  # the value, and the rule that it breaks


class SendoptError(Exception):
    """Base of every error that this project raises on purpose."""


class RejectedInput(SendoptError):
    """An input was refused as a whole; `errors` has every reason."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in self.errors))


class InvalidInput(RejectedInput):
    """The input is malformed: a wrong type, out of range, an unknown field or time zone."""


class ImpossibleInput(RejectedInput):
    """The input is well-formed but cannot be acted on."""


class NotFound(SendoptError):
    """The requested object does not exist."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"unknown {kind} {name!r}")


class Conflict(SendoptError):
    """The change contradicts what is stored."""


class UnreadableCampaign(SendoptError):
    """A stored campaign document breaks a rule of this program, which another program wrote or a later rule forbids."""


class StoreUnavailable(SendoptError):
    """The database cannot commit at the moment; nothing was stored."""


class SettingsError(SendoptError):
    """A setting is unknown or malformed."""


class MissingExtra(SendoptError, ImportError):
    """Something was asked for that needs packages which are not installed; the message names the extra."""

    def __init__(self, package: str) -> None:
        extra = EXTRA_OF[package]
        super().__init__(
            f"this needs the extra {extra!r}, as {package} is not installed: "
            f"pip install 'notification-send-optimizer[{extra}]'"
        )


def require_extra(extra: str) -> None:
    """Raises MissingExtra unless every package of the extra is installed; imports none of them."""
    for package in (name for name, its in EXTRA_OF.items() if its == extra):
        if find_spec(package) is None:
            raise MissingExtra(package)


@contextmanager
def extras_named() -> Iterator[None]:
    """Raises MissingExtra where an import in the block fails because an extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        raise MissingExtra(package) from None


class InvalidPropensity(SendoptError):
    """A probability is not finite, or is outside the range that the rule allows."""


class CorruptModel(SendoptError):
    """The bytes of a model are not those that were published, or do not load as its manifest says."""


class ModelNotLoaded(SendoptError):
    """A published version could not be loaded now, though nothing says that it is broken."""


class StaleLearner(SendoptError):
    """Another learner published first, so this one started from an outdated model."""


class DatasetError(SendoptError):
    """A published log is missing or is not the file that was published."""


class InvalidLog(SendoptError):
    """A log is empty, has the wrong shape, or has a value that a rule forbids; the message names row and rule."""


class EmptyLog(InvalidLog):
    """No decision of a log has a final reward yet."""


class EstimatesWithheld(SendoptError):
    """The log cannot answer the question; `reasons` says why."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"the log cannot answer: {'; '.join(self.reasons)}. Use show_anyway to see the numbers")


class UnknownTimeZone(SendoptError):
    """A time zone is not in the IANA list of the installed tzdata package."""

    def __init__(self, name: str, tzdata_version: str) -> None:
        self.name = name
        shown = name if len(name) <= 64 else f"{name[:64]}…"  # the caller may send a text of any length
        super().__init__(f"unknown time zone {shown!r}: not in the IANA list (tzdata {tzdata_version})")
