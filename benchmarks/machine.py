"""The facts about a machine that are needed to read its figures, and nothing that identifies it."""

import os
import platform
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("flask", "granian", "numpy", "orjson", "pydantic", "sqlalchemy", "vowpalwabbit", "werkzeug")
_IN_MEMORY = ("tmpfs", "ramfs")


class NoDisk(Exception):
    """The folder lies in memory, where a durable write costs nothing."""


def facts(folder: Path) -> Mapping[str, str | int]:
    """Facts about the machine, its software and the disk of the folder."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "file system": file_system(folder),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
    }


def check_disk(folder: Path) -> None:
    """Raises NoDisk for a folder in memory."""
    if (kind := file_system(folder)) in _IN_MEMORY:
        raise NoDisk(f"--folder {folder}: lies on {kind}; give a folder on a disk, so that commits are durable")


def file_system(folder: Path) -> str:
    """Type of the file system of a folder, as in "ext4"."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == wanted:
            return kind.split()[0]
    return "unknown"
