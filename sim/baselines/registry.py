"""The baselines by name, each built for one campaign."""

from collections.abc import Mapping

from sim.baselines.protocol import Build
from sim.baselines.uniform import Uniform

BASELINES: Mapping[str, Build] = {
    "uniform": Uniform,
}
