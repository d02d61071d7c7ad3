"""The settings, read from the environment in one place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bandit.errors import SettingsError

PREFIX = "SENDOPT_"
MOST_WORKERS = 64
DEFAULT_DATABASE_URL = "sqlite:///sendopt.db"
_KNOWN = (
    "DATABASE_URL",
    "HOST",
    "PORT",
    "WORKERS",
    "CLOCK",
    "WORKER_INTERVAL_SECONDS",
    "PROMOTION_INTERVAL_SECONDS",
    "MODEL_POLL_SECONDS",
    "DATA",
)
# What Kubernetes sets in every pod for a Service whose name begins with `sendopt`: no setting of anybody.
_OF_A_SERVICE = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_ADDRESS_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://\S+")  # the value of SENDOPT_PORT, or SENDOPT_API_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values that may differ between installations."""

    database_url: str = DEFAULT_DATABASE_URL
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1  # serving processes
    clock: Literal["system", "request"] = "system"
    worker_interval_seconds: float = 10.0
    promotion_interval_seconds: float | None = None  # between two checks of the gate; None: the worker promotes nothing
    model_poll_seconds: float = 2.0
    data: Path | None = None  # folder of the published logs

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings of these environment variables.

        Raises:
            SettingsError: an unknown `SENDOPT_` variable or a malformed value, by name.
        """
        given = {
            name.removeprefix(PREFIX): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and not _is_of_a_service(name.removeprefix(PREFIX), value)
        }
        unknown = sorted(given.keys() - set(_KNOWN))
        if unknown:
            known = ", ".join(PREFIX + name for name in _KNOWN)
            raise SettingsError(f"{PREFIX}{unknown[0]}: is not a setting; the settings are {known}")
        return cls(
            database_url=given.get("DATABASE_URL", DEFAULT_DATABASE_URL),
            host=given.get("HOST", "127.0.0.1"),
            port=_whole("PORT", given, 8000, most=65_535),
            workers=_whole("WORKERS", given, 1, most=MOST_WORKERS),
            clock=_clock(given.get("CLOCK", "system")),
            worker_interval_seconds=_seconds("WORKER_INTERVAL_SECONDS", given, 10.0),
            promotion_interval_seconds=_optional_seconds("PROMOTION_INTERVAL_SECONDS", given),
            model_poll_seconds=_seconds("MODEL_POLL_SECONDS", given, 2.0),
            data=_folder("DATA", given),
        )


def _is_of_a_service(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable, for a Service named `sendopt` or `sendopt-<more>`."""
    if _OF_A_SERVICE.fullmatch(name) is not None:
        return True
    return f"_{name}".endswith("_PORT") and _ADDRESS_OF_A_SERVICE.fullmatch(value) is not None


def _whole(name: str, given: Mapping[str, str], default: int, *, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise SettingsError(f"{PREFIX}{name}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def _clock(value: str) -> Literal["system", "request"]:
    if value == "system":
        return "system"
    if value == "request":
        return "request"
    raise SettingsError(f"{PREFIX}CLOCK: {value!r} is neither 'system' nor 'request'")


def _folder(name: str, given: Mapping[str, str]) -> Path | None:
    text = given.get(name)
    if text == "":  # it would be the working directory
        raise SettingsError(f"{PREFIX}{name}: '' is not a folder")
    return None if text is None else Path(text)


def _seconds(name: str, given: Mapping[str, str], default: float) -> float:
    found = _optional_seconds(name, given)
    return default if found is None else found


def _optional_seconds(name: str, given: Mapping[str, str]) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.01 <= seconds <= 86_400:
        raise SettingsError(f"{PREFIX}{name}: {text!r} is not a number of seconds from 0.01 to 86400")
    return seconds
