"""What `sendopt serve` starts ends with it, however it ends: else it would keep the port, and learn for ever.

`python -m api.beside worker` is `python -m api worker` that ends with the process which started it.
"""

import os
from threading import Thread
from time import sleep

import structlog

LOOK_SECONDS = 0.5

log = structlog.get_logger(__name__)


def end_with_parent() -> None:
    """Ends this process soon after the one that started it was killed."""
    Thread(target=_end_after, args=[os.getppid()], name="parent-watch", daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        sleep(LOOK_SECONDS)
    log.error("parent_died", rule="what was started beside a service ends with it")
    os._exit(1)  # safe at any moment: everything is committed whole or not at all


if __name__ == "__main__":
    from api.cli import main

    end_with_parent()
    main()
