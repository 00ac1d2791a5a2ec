"""Follows the committed metadata log from whichever controller is there, and keeps an image of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from kafkawire.errors import KafkaError
from kraft.events import Events
from kraft.transport.client import Peer
from kraft.transport.errors import PeerError
from metadata.calls import METADATA_FEED
from metadata.loader import MetadataLoader, MetadataPublisher
from metadata.log import CommittedBatch
from metadata.serde import MalformedError

RETRY_PAUSE = 0.02


class MetadataFeed:
    """Tells `publisher` of each new image and `on_leader` when another controller becomes active."""

    def __init__(
        self,
        peers: Mapping[int, Peer],
        publisher: MetadataPublisher,
        on_leader: Callable[[int | None], None],
    ) -> None:
        self._peers = peers
        self._publisher = publisher
        self._on_leader = on_leader
        self._loader = MetadataLoader([publisher])
        self._told: int | None = None
        """The offset that `publisher` was told of before a new start; None while it is told of everything."""
        self._pieces: list[bytes] = []
        """What has come of a snapshot."""
        self._leader_id: int | None = None
        self._followed: tuple[int, asyncio.Timeout] | None = None
        """Who is being followed, and what ends it."""
        self._events = Events("metadata")

    async def run(self) -> None:
        """Follow until cancelled. Prefers the active controller, whose news come first."""
        while True:
            for peer in sorted(self._peers.values(), key=lambda peer: peer.peer_id != self._leader_id):
                if peer.connected and await self._is_left(peer):
                    break
            await asyncio.sleep(RETRY_PAUSE)

    async def _is_left(self, peer: Peer) -> bool:
        """Follow a controller for as long as it goes; whether another one is preferred by then."""
        try:
            async with asyncio.timeout(None) as end:
                self._followed = peer.peer_id, end
                with contextlib.suppress(PeerError, KafkaError):
                    await self._follow(peer)
        except TimeoutError:
            return True
        finally:
            self._followed = None
        return False

    def prefer(self, leader_id: int) -> None:
        """The active controller has answered: leave whoever else is being followed. That one may be cut off
        from the quorum, and go on without any news."""
        self._leader_id = leader_id
        if self._followed is not None and self._followed[0] != leader_id:
            (_, end), self._followed = self._followed, None
            end.reschedule(asyncio.get_running_loop().time())

    async def _follow(self, peer: Peer) -> None:
        self._pieces.clear()
        offset = self._loader.image.next_offset
        self._events.debug("feed.following", controller=peer.peer_id, offset=offset)
        async with contextlib.aclosing(peer.stream(METADATA_FEED, offset)) as items:
            async for item in items:
                try:
                    self._take(item.value)
                except (MalformedError, ValueError) as error:
                    # Not the log that our image came from.
                    self._events.error("feed.malformed", controller=peer.peer_id, reason=str(error))
                    self._start_over()
                    return

    def _start_over(self) -> None:
        """Begin with an empty image. Whoever goes by an older image than before takes for deleted what is
        younger, so nobody is told until it has come as far."""
        self._told = self._loader.image.offset if self._told is None else self._told
        self._loader = MetadataLoader()

    def _tell_if_come_as_far(self) -> None:
        if self._told is not None and self._loader.image.offset >= self._told:
            self._told = None
            self._loader.add_publisher(self._publisher)

    def _take(self, value: Any) -> None:
        match value:
            case {"snapshot": bytes(piece), "next_offset": int(next_offset), "more": bool(more)}:
                self._pieces.append(piece)
                if not more:
                    snapshot, self._pieces = b"".join(self._pieces), []
                    self._loader.on_snapshot(snapshot, next_offset)
                    self._tell_if_come_as_far()
            case {"batches": list(batches)}:
                self._loader.on_batches([_batch(each) for each in batches])
                self._tell_if_come_as_far()
            case {"leader": leader, "term": int(_)} if leader is None or isinstance(leader, int):
                if leader != self._leader_id:
                    self._leader_id = leader
                    self._on_leader(leader)
            case _:
                raise ValueError(f"not an item of a metadata feed: {str(value)[:100]}")


def _batch(value: Any) -> CommittedBatch:
    match value:
        case [int(first), int(term), list(records)]:
            return CommittedBatch(first, term, records)
        case _:
            raise ValueError(f"not a batch of a metadata feed: {str(value)[:100]}")
