"""The one place that touches pysyncobj's module globals.

`pysyncobj.syncobj` reads the time, draws election timeouts and opens its journal through names of its own
module. They are replaced here, once, by ones that answer for the driver that is inside pysyncobj at the
moment. So several drivers live in one process, each with its own clock and its own source of chance, and a
whole history can be replayed. While no driver is inside, the names do what they always did.

This holds for drivers of one thread: a driver never yields to another while it is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pysyncobj import syncobj


class Randomness(Protocol):
    """The part of `random.Random` that is needed here."""

    def random(self) -> float: ...


class _Ambient:
    """Stands in for `monotonicTime`, the module `random` and `createJournal`."""

    def __init__(self) -> None:
        self._time: Callable[[], float] = syncobj.monotonicTime
        self._random: Callable[[], float] = syncobj.random.random
        self._create_journal: Callable[[Any], Any] = syncobj.createJournal
        self.now: float | None = None
        self.rng: Randomness | None = None
        self.journal: Any = None

    def monotonic(self) -> float:
        return self._time() if self.now is None else self.now

    def random(self) -> float:
        return self._random() if self.rng is None else self.rng.random()

    def create_journal(self, path: Any = None) -> Any:
        return self._create_journal(path) if self.journal is None else self.journal


_ambient = _Ambient()
syncobj.monotonicTime = _ambient.monotonic
syncobj.random = _ambient
syncobj.createJournal = _ambient.create_journal


def enter(time: float, rng: Randomness) -> None:
    """From here on pysyncobj sees this time and this chance; `leave` ends it."""
    _ambient.now = time
    _ambient.rng = rng


def now() -> float:
    """The time of the driver that is inside."""
    return _ambient.monotonic()


def leave() -> None:
    """No driver is inside any more."""
    _ambient.now = None
    _ambient.rng = None


@contextmanager
def constructing(journal: Any) -> Iterator[None]:
    """While inside, a new SyncObj gets `journal`."""
    _ambient.journal = journal
    try:
        yield
    finally:
        _ambient.journal = None
