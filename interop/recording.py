"""What clients came to at their last run, kept as JSON: on ours, and on Apache Kafka.

The page `docs/compatibility.md` is made of both recordings, so that a run of one client, or on a machine that
lacks some, renews a part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from interop.clients import FOLDER
from interop.execution import Outcome, Report
from interop.steps import EXPECTED

_FOLDER = FOLDER / "recordings"
OURS = _FOLDER / "kraft-node.json"
KAFKA = _FOLDER / "apache-kafka.json"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One client's run: which library in which version, and outcome and detail of each step."""

    library: str
    version: str
    outcomes: dict[str, str]
    reasons: dict[str, str]
    """Why a step is unsupported."""


@dataclass(slots=True)
class Recording:
    """The last runs against one kind of cluster, `title`, by client."""

    title: str = ""
    clients: dict[str, Recorded] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What the file has; an empty recording if there is none."""
        if not path.exists():
            return cls()
        said = json.loads(path.read_text(encoding="utf-8"))
        return cls(said["title"], {name: Recorded(**each) for name, each in said["clients"].items()})

    def write(self, path: Path) -> None:
        """Sorted, so that a difference of two versions of the file is one of outcomes."""
        path.parent.mkdir(exist_ok=True)
        clients = {name: asdict(self.clients[name]) for name in sorted(self.clients)}
        said = {"title": self.title, "clients": clients}
        path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def renew(self, title: str, reports: Iterable[Report]) -> None:
        """Take over these runs."""
        self.title = title
        for report in reports:
            self.clients[report.client] = recorded(report)

    def outcomes(self, client: str) -> dict[str, str] | None:
        """By step; None if the client is not in it."""
        return self.clients[client].outcomes if client in self.clients else None


def recorded(report: Report) -> Recorded:
    """A report as it is kept, steps in the order of the table."""
    found: dict[str, Outcome] = {step: report.outcome(step) for step in EXPECTED}
    return Recorded(
        report.library,
        report.version,
        {step: each.outcome for step, each in found.items()},
        {step: each.detail for step, each in found.items() if each.outcome == "unsupported"},
    )
