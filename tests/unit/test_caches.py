"""Every cache of the project has a bound: what callers send can fill none without end."""

import ast
import importlib
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from inspect import signature
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("bandit", "sim", "api", "sendopt_client")
CACHED = type(lru_cache(maxsize=1)(abs))
NOT_IMPORTED = ("api.__main__",)  # it runs the command line


def modules() -> Iterator[Any]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        names = (one.name for one in walk_packages(package.__path__, f"{name}."))
        yield from (importlib.import_module(one) for one in names if one not in NOT_IMPORTED)


def caches() -> dict[str, Any]:
    """Every cached function of a module or of a class, by its name, once."""
    found = {}
    for module in modules():
        for holder in (module, *(one for one in vars(module).values() if isinstance(one, type))):
            for value in vars(holder).values():
                if isinstance(value, CACHED) and value.__module__.partition(".")[0] in PACKAGES:
                    found[id(value)] = (f"{value.__module__}.{value.__qualname__}", value)
    return dict(found.values())


def is_unbounded(cached: Callable[..., Any]) -> bool:
    """Whether the cache grows with what it is called with; a function without parameters has one result."""
    return cached.cache_parameters()["maxsize"] is None and bool(signature(cached).parameters)  # type: ignore[attr-defined]


def written() -> int:
    """How often the source makes a cache: each use of `lru_cache` or `cache`."""
    files = [path for name in PACKAGES for path in Path(importlib.import_module(name).__path__[0]).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return sum(isinstance(node, ast.Name) and node.id in ("lru_cache", "cache") for node in nodes)


def test_every_cache_that_is_written_is_looked_at() -> None:
    assert len(caches()) == written() > 30


def test_every_cache_has_a_bound() -> None:
    assert not [name for name, cached in caches().items() if is_unbounded(cached)]


def test_a_cache_without_one_is_found_out() -> None:
    @cache
    def unbounded(of: int) -> int:
        return of

    @lru_cache(maxsize=8)
    def bounded(of: int) -> int:
        return of

    @cache
    def single() -> int:
        return 1

    assert [is_unbounded(one) for one in (unbounded, bounded, single)] == [True, False, False]
