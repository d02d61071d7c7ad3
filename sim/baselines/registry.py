"""The baselines by name, each built for one campaign."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

from sim.baselines.fixed_time import FixedTime
from sim.baselines.linear_thompson import LinearThompson
from sim.baselines.mabwiser_linear import MabWiser
from sim.baselines.protocol import Build
from sim.baselines.recovering import Recovering
from sim.baselines.relative_lift import RelativeLift
from sim.baselines.reuse_last import ReuseLast
from sim.baselines.slot_thompson import SlotThompson
from sim.baselines.uniform import Uniform
from sim.baselines.vw_epsilon import EpsilonGreedy

BASELINES: Mapping[str, Build] = {
    "uniform": Uniform,
    "fixed_time": FixedTime,
    "reuse_last": ReuseLast,
    "recovering": Recovering,
    "relative_lift": RelativeLift,
    "slot_thompson": SlotThompson,
    "linear_thompson": LinearThompson,
    "vw_epsilon": EpsilonGreedy,
    "mabwiser_linucb": partial(MabWiser, policy="LinUCB", alpha=0.5),  # the best of three values in an easy world
    "mabwiser_lints": partial(MabWiser, policy="LinTS", alpha=0.3),
}
_PACKAGES: Mapping[str, str] = {"mabwiser_linucb": "mabwiser", "mabwiser_lints": "mabwiser"}

NEED_A_CATALOGUE = frozenset({"fixed_time", "mabwiser_linucb", "mabwiser_lints"})  # their actions are listed beforehand


def absent_package(name: str) -> str | None:
    """The missing package that a policy needs; None if nothing is missing."""
    package = _PACKAGES.get(name)
    return package if package is not None and find_spec(package) is None else None
