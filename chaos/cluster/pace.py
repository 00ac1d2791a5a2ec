"""How often the processes of a simulated cluster look whether there is something to do.

Pauses that are short on real machines, where an event costs a wait that nobody notices, are longer here: what
would happen in between is all alike, and would be a good part of a history's work. None of them is as long as
a session, and only how long they are is another than what ships.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from kraft.broker import broker, controller_channel, metadata_feed
from kraft.client import cluster
from kraft.coordinator.transaction import coordinator

PAUSES: tuple[tuple[ModuleType, str, float], ...] = (
    (broker, "TICK_INTERVAL", 0.4),
    (controller_channel, "RETRY_PAUSE", 0.2),
    (metadata_feed, "RETRY_PAUSE", 0.1),
    (coordinator, "WATCH_INTERVAL", 1.5),
    (cluster, "FIRST_BACKOFF", 0.03),
    (cluster, "LAST_BACKOFF", 0.3),
)
"""Whose, which one, and how long it is in a simulation, in seconds."""


@contextmanager
def longer_pauses() -> Iterator[None]:
    """While inside, everybody looks less often."""
    usual = [(vars(module), name, vars(module)[name]) for module, name, _ in PAUSES]
    for module, name, seconds in PAUSES:
        vars(module)[name] = seconds
    try:
        yield
    finally:
        for names, name, seconds in usual:
            names[name] = seconds
