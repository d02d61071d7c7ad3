"""One thread for the linear algebra of a block.

With several, the last digits of a sum depend on how the work was shared, so that another machine would learn
something else from the same log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread of this process."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    """Looks for the libraries once they are loaded: scipy brings one of its own."""
    import scipy.linalg  # noqa: F401  learning needs it; serving never comes here

    return ThreadpoolController()
