"""Is an outcome as it should be? Compared with Apache Kafka, and with the differences that are known."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.clients import FOLDER
from interop.steps import EXPECTED, FAILED, MISSING, UNSUPPORTED

KNOWN_FILE = FOLDER / "known_differences.toml"

Outcomes = Mapping[str, str]
"""A client's outcomes by step."""


@dataclass(frozen=True, slots=True)
class Known:
    """A difference that stays, and why. `client` is a name or `*`."""

    client: str
    step: str
    ours: str
    kafka: str
    reason: str

    def covers(self, client: str, step: str, ours: str, kafka: str) -> bool:
        """True if it is this difference that is meant."""
        return self.client in ("*", client) and (self.step, self.ours, self.kafka) == (step, ours, kafka)


@dataclass(frozen=True, slots=True)
class Difference:
    """One step that came to something else than on Apache Kafka; `reason` is empty if nobody gave one."""

    client: str
    step: str
    ours: str
    kafka: str
    reason: str


def known_differences(path: Path = KNOWN_FILE) -> list[Known]:
    """What the file lists. Raises TypeError for an entry with other keys than it should have."""
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Known(**each) for each in said.get("difference", [])]


def expected(step: str, kafka: Outcomes | None) -> str:
    """What a step has to come to: what it does on Apache Kafka if that is known, else what the table says."""
    return EXPECTED[step] if kafka is None else kafka.get(step, EXPECTED[step])


def differences(
    client: str, ours: Outcomes, kafka: Outcomes | None, known: Iterable[Known]
) -> Iterator[Difference]:
    """Every step that is not as it should be, with the reason if there is one.

    What the library can not do is its own affair, unless it can do it against Apache Kafka. A step that fails
    on both is a difference too: between what the script expects and what there is.
    """
    listed = list(known)
    for step in EXPECTED:
        outcome, wanted = ours.get(step, MISSING), expected(step, kafka)
        if outcome == UNSUPPORTED and (kafka is None or wanted == UNSUPPORTED):
            continue
        if outcome == wanted and outcome not in (FAILED, MISSING):
            continue
        reasons = [each.reason for each in listed if each.covers(client, step, outcome, wanted)]
        yield Difference(client, step, outcome, wanted, reasons[0] if reasons else "")
