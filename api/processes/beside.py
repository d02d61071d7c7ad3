"""Child processes exit when `sendopt serve` dies, even if it is killed.

Otherwise they would hold the port and keep learning.
"""

import os
from threading import Thread
from time import sleep

import structlog

LOOK_SECONDS = 0.5
PARENT_VARIABLE = "SERVED_BY_PID"  # not a setting: what begins with SENDOPT_ must be one

log = structlog.get_logger(__name__)


def name_parent() -> None:
    """Names this process to those that it starts from now on.

    They cannot ask the system: whoever is started right before its parent is killed already has another one.
    """
    os.environ[PARENT_VARIABLE] = str(os.getpid())


def end_with_parent() -> None:
    """Ends this process soon after the one that started it was killed; nothing where it was not named."""
    if (parent := os.environ.get(PARENT_VARIABLE)) is not None:
        Thread(target=_end_after, args=[int(parent)], name="parent-watch", daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        sleep(LOOK_SECONDS)
    try:
        log.error("parent_died", rule="what was started beside a service ends with it")
    finally:
        os._exit(1)  # safe at any moment: everything is committed whole or not at all
