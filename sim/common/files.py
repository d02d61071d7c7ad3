"""Checks of files that a study will write, made before it starts."""

from collections.abc import Sequence
from pathlib import Path

from bandit.errors import FieldError, InvalidInput


def check_can_be_written(path: Path, field: str, suffixes: Sequence[str] = ()) -> None:
    """Raises InvalidInput unless the path lies in a folder that exists and has one of the suffixes, if any are given.

    Args:
        field: that the error names.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise InvalidInput([FieldError(field=field, message=f"{path.name!r} must end in {' or '.join(suffixes)}")])
    if not path.parent.is_dir():
        raise InvalidInput([FieldError(field=field, message=f"{str(path.parent)!r} is not a folder")])
