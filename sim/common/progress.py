"""Progress callbacks: how a long study says how far it has come."""

from collections.abc import Callable

ProgressCallback = Callable[[int], None]  # called with the number of rows done so far
ProgressOfTotal = Callable[[int, int], None]  # called with the number of rows done so far, and of all rows
