"""Answers that anybody may ask for, made once for all who ask within a moment."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A value that is made by one thread at a time, and kept for some seconds; what `make` raises is not kept."""

    def __init__(self, make: Callable[[], Value], *, seconds: float = float("inf")) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = Lock()
        self._value: Value | None = None
        self._fresh_until = float("-inf")

    def get(self) -> Value:
        """The value; where it is being made, this waits for it."""
        with self._lock:
            if self._value is None or monotonic() >= self._fresh_until:
                self._value = self._make()
                self._fresh_until = monotonic() + self._seconds
            return self._value
