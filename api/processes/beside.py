"""Child processes exit when `sendopt serve` dies, even if it is killed.

Otherwise they would hold the port and keep learning.
"""

import os
from threading import Thread
from time import sleep

import structlog

LOOK_SECONDS = 0.5
PARENT_VARIABLE = "SERVED_BY_PID"  # not a setting: only settings may begin with SENDOPT_

log = structlog.get_logger(__name__)


def name_parent() -> None:
    """Tells child processes the id of this process.

    They cannot ask the system: a process that starts right before its parent is killed already has another parent.
    """
    os.environ[PARENT_VARIABLE] = str(os.getpid())


def end_with_parent() -> None:
    """Ends this process soon after its parent was killed; does nothing if no parent was named."""
    if (parent := os.environ.get(PARENT_VARIABLE)) is not None:
        Thread(target=_end_after, args=[int(parent)], name="parent-watch", daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        sleep(LOOK_SECONDS)
    try:
        log.error("parent_died", rule="child processes exit when the service dies")
    finally:
        os._exit(1)  # safe at any moment: everything is committed completely or not at all
