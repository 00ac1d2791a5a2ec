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
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.serde import MalformedError, decode_record
from metadata.snapshot import decode_snapshot

RETRY_PAUSE = 0.02


class MetadataFeed:
    """Calls `on_image` with each new image and `on_leader` when another controller becomes active."""

    def __init__(
        self,
        peers: Mapping[int, Peer],
        on_image: Callable[[MetadataImage], None],
        on_leader: Callable[[int | None], None],
    ) -> None:
        self._peers = peers
        self._on_image = on_image
        self._on_leader = on_leader
        self._image = EMPTY_IMAGE
        self._leader_id: int | None = None
        self._events = Events("metadata")

    async def run(self) -> None:
        """Follow until cancelled. Prefers the active controller, whose news come first."""
        while True:
            for peer in sorted(self._peers.values(), key=lambda peer: peer.peer_id != self._leader_id):
                if peer.connected:
                    with contextlib.suppress(PeerError, KafkaError):
                        await self._follow(peer)
            await asyncio.sleep(RETRY_PAUSE)

    async def _follow(self, peer: Peer) -> None:
        self._events.debug("feed.following", controller=peer.peer_id, offset=self._image.next_offset)
        async with contextlib.aclosing(peer.stream(METADATA_FEED, self._image.next_offset)) as items:
            async for item in items:
                try:
                    self._take(item.value)
                except (MalformedError, ValueError) as error:
                    # Not the log that this image came from: start over from a snapshot.
                    self._events.error("feed.malformed", controller=peer.peer_id, reason=str(error))
                    self._image = EMPTY_IMAGE
                    return

    def _take(self, value: Any) -> None:
        match value:
            case {"snapshot": bytes(snapshot)}:
                self._replace(decode_snapshot(snapshot))
            case {"first_offset": int(first), "records": list(records)}:
                fresh = [
                    decode_record(record) for record in records[max(0, self._image.next_offset - first) :]
                ]
                if fresh:
                    self._replace(self._image.apply(fresh, max(first, self._image.next_offset)))
            case {"leader": leader, "term": int(_)} if leader is None or isinstance(leader, int):
                if leader != self._leader_id:
                    self._leader_id = leader
                    self._on_leader(leader)
            case _:
                raise ValueError(f"not an item of a metadata feed: {str(value)[:100]}")

    def _replace(self, image: MetadataImage) -> None:
        if image.offset > self._image.offset:
            self._image = image
            self._on_image(image)
