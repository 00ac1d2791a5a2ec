"""What to tell a client of a leader that was lost a moment ago: nothing, until there is another one.

A client that is told of a dead leader tries to connect to it; one that is told of none asks again when its
timer says so, librdkafka after up to a second. The controller elects another leader in a fraction of that.
"""

from __future__ import annotations

from collections.abc import Callable

from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.neighbours import Neighbours

ELECTION_TIMEOUT = 0.5
"""Seconds that an answer waits for an election at most: what is asked later on the same connection is
answered later."""


async def leaders_looked_at(
    neighbours: Neighbours, metadata: MetadataCache, leaders: Callable[[], set[int]]
) -> None:
    """Ask other brokers that `leaders` names whether they are there; wait a moment for the metadata to name
    others in place of those that are not."""
    await neighbours.look_at(leaders())
    await metadata.wait_until(
        lambda _image: not any(neighbours.suspects(leader) for leader in leaders()), ELECTION_TIMEOUT
    )
