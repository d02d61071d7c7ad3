"""Lines of the service's own log that tests read."""

import io
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Log:
    """Lines that were logged."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Each line as the JSON object that it must be."""
        return [json.loads(line) for line in self.text.splitlines()]
