"""Evaluating a log against only reading it; and the bootstrap."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure
from benchmarks.servers import resident_megabytes
from sim.ope.batch import checked_batch
from sim.ope.estimates import estimate_all
from sim.ope.evaluation import evaluation_of
from sim.ope.groups import HASHED_GROUPS, hashed_groups
from sim.ope.sums import Sums
