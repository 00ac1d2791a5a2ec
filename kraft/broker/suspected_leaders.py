"""What to tell a client of a leader that was lost a moment ago: nothing, until there is another one.

A client that is told of a dead leader tries to connect to it; one that is told of none asks again when its
timer says so, after up to a second or more. The controller elects another leader in a fraction of that.

librdkafka is told at once, and only once, that there is none. It asks again after 100 ms, and waits
then as the others do. Its thread for a broker that it is told of no more takes that broker's partitions to
nobody (2.16: `Reverting from preferred replica`), and if the same answer has named their new leader, it may
do so after they have been taken there: they would be left until its timer looks at them, up to a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from kraft.broker.connection import Connection
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.neighbours import Neighbours

ELECTION_TIMEOUT: Final = 0.5
"""Seconds that an answer waits for an election at most: what is asked later on the same connection is
answered later."""


class SuspectedLeaders:
    """Lets answers wait for the successors of leaders that were just lost."""

    def __init__(self, neighbours: Neighbours, metadata: MetadataCache) -> None:
        self._neighbours = neighbours
        self._metadata = metadata
        self._told: WeakKeyDictionary[Connection, dict[int, float]] = WeakKeyDictionary()

    def suspects(self, broker_id: int) -> bool:
        """See `Neighbours`."""
        return self._neighbours.lost_at(broker_id) is not None

    async def replaced(self, leaders: Callable[[], set[int]], client: Connection | None = None) -> None:
        """Ask other brokers that `leaders` names whether they are there; wait a moment for the metadata to
        name others in place of those that are not, unless that is what `client` has to hear."""
        await self._neighbours.look_at(leaders())
        lost = self._lost(leaders())
        if lost and not (client is not None and self._is_news(client, lost)):
            await self._metadata.wait_until(lambda _image: not self._lost(leaders()), ELECTION_TIMEOUT)

    def _lost(self, leaders: set[int]) -> dict[int, float]:
        """Those that are probably dead, and when they were lost."""
        return {each: at for each in leaders if (at := self._neighbours.lost_at(each)) is not None}

    def _is_news(self, client: Connection, lost: dict[int, float]) -> bool:
        """Whether a client has to be told that these are lost, and was not."""
        if not is_librdkafka(client.client_software):
            return False
        if lost.items() <= self._told.get(client, {}).items():
            return False
        self._told[client] = lost
        return True


def is_librdkafka(software: tuple[str, str]) -> bool:
    """Whether a client's name and version (KIP-511) are those of librdkafka, or of what wraps it, as in
    `confluent-kafka-python` and `2.16.1-rdkafka-2.16.0`."""
    return any("rdkafka" in each for each in software)
