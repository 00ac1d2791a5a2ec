"""What a controller answers to other nodes: commands, the metadata feed, the quorum's state; and which
broker is there.

A broker's link to the active controller is its sign of life: when it closes the broker is fenced after a
short grace (`broker.disconnect.grace.ms`), unless it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from kafkawire.errors import ErrorCode, KafkaError
from kraft.controller.service import ControllerService
from kraft.transport.handlers import Handlers
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from metadata.calls import COMMAND_PREFIX, DESCRIBE_QUORUM, METADATA_FEED, QuorumDescription
from metadata.controller.commands import (
    COMMANDS,
    BrokerConnected,
    BrokerDisconnected,
    BrokerHeartbeat,
    CommandSpec,
    RegisterBroker,
    RegisterBrokerReply,
)
from metadata.image import BrokerState
from metadata.log import CommittedBatch
from metadata.serde import from_wire, to_wire
from metadata.snapshot import encode_snapshot

FEED_ITEM = 64 * 1024
"""Bytes of records, or of a snapshot, with which an item of the metadata feed is large enough."""


class ControllerEndpoints:
    """Registers the handlers of one controller node."""

    def __init__(self, service: ControllerService, describe_quorum: Callable[[], QuorumDescription]) -> None:
        self._service = service
        self._describe_quorum = describe_quorum
        self._links: dict[Link, int] = {}
        """All that are open, oldest first, with their numbers."""
        self._opened = 0
        self._lost: dict[int, int] = {}
        """Brokers whose last link has closed, and how many links had been opened until then."""
        self._broker_epochs: dict[Link, int] = {}
        service.observe(self._leadership_may_have_changed)
        self._was_active = False
        self._changed = asyncio.Event()

    def register(self, handlers: Handlers) -> None:
        """Add to `handlers`."""
        for spec in COMMANDS.values():
            handlers.handle(COMMAND_PREFIX + spec.name, self._command_handler(spec))
        handlers.handle(DESCRIBE_QUORUM, self._quorum)
        handlers.handle_stream(METADATA_FEED, self._feed)
        handlers.link_opened.append(self._link_opened)

    # -- commands ---------------------------------------------------------------------------------

    def _command_handler(self, spec: CommandSpec) -> Callable[[Link, Any], Any]:
        async def handle(link: Link, value: Any) -> Reply:
            command = from_wire(spec.command, value)
            broker_id = getattr(command, "broker_id", None)
            if broker_id is not None and broker_id != link.peer_id and spec.name != "UnregisterBroker":
                raise KafkaError(ErrorCode.INVALID_REQUEST, "a command in another broker's name")
            reply = await self._service.submit(command)
            match command, reply:
                case BrokerHeartbeat(), _:
                    self._associate(link, command.broker_epoch)
                case RegisterBroker(), RegisterBrokerReply():
                    self._associate(link, reply.broker_epoch)
            return Reply(to_wire(reply))

        return handle

    def _quorum(self, _link: Link, _value: Any) -> Reply:
        if not self._service.active:
            raise self._service.not_active()
        return Reply(to_wire(self._describe_quorum()))

    # -- brokers' links ---------------------------------------------------------------------------

    def _link_opened(self, link: Link) -> None:
        self._opened += 1
        self._links[link] = self._opened
        self._lost.pop(link.peer_id, None)
        link.on_close(lambda: self._note_loss(link))

    def _note_loss(self, link: Link) -> None:
        del self._links[link]
        is_last = all(other.peer_id != link.peer_id for other in self._links)
        if is_last and link.peer_id in self._service.image.brokers:
            self._lost[link.peer_id] = self._opened

    def _take_over_links(self) -> None:
        """Links that were made while another controller was active count from now, and so do losses.

        A broker is linked to every controller, and may need seconds to notice that the one it talks to has
        fallen silent: its link says that it lives. One that lost its link may have died together with that
        controller. But if this process was paused, or cut off, it has lost every link: a loss is believed
        where a link of another node has outlived it.
        """
        for link, broker_epoch in tuple(self._broker_epochs.items()):
            self._observe(BrokerConnected(link.peer_id, broker_epoch))
        for link in [each for each in self._links if each not in self._broker_epochs]:
            broker = self._service.image.brokers.get(link.peer_id)
            if broker is not None and broker.state is not BrokerState.FENCED:
                self._associate(link, broker.epoch)
        others = [number for link, number in self._links.items() if link.peer_id != self._service.node_id]
        for broker_id, opened in self._lost.items():
            broker = self._service.image.brokers.get(broker_id)
            if broker is not None and any(number <= opened for number in others):
                self._observe(BrokerDisconnected(broker_id, broker.epoch))

    def _associate(self, link: Link, broker_epoch: int) -> None:
        if link.closed or self._broker_epochs.get(link) == broker_epoch:
            return
        if link not in self._broker_epochs:
            link.on_close(lambda: self._link_closed(link))
        self._broker_epochs[link] = broker_epoch
        self._observe(BrokerConnected(link.peer_id, broker_epoch))

    def _link_closed(self, link: Link) -> None:
        broker_epoch = self._broker_epochs.pop(link)
        still_there = any(
            other.peer_id == link.peer_id and epoch == broker_epoch
            for other, epoch in self._broker_epochs.items()
        )
        if not still_there:
            self._observe(BrokerDisconnected(link.peer_id, broker_epoch))

    def _observe(self, event: BrokerConnected | BrokerDisconnected) -> None:
        if self._service.active:
            self._service.submit(event).add_done_callback(_ignore_failure)

    def _leadership_may_have_changed(self) -> None:
        if self._service.active and not self._was_active:
            self._take_over_links()
        self._was_active = self._service.active
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # -- the feed ---------------------------------------------------------------------------------

    async def _feed(self, _link: Link, value: Any) -> AsyncIterator[Reply]:
        """Committed batches from offset `value` on, a snapshot first where that is too far back; and who
        leads."""
        if not isinstance(value, int) or value < 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "a metadata feed begins at an offset")
        offset = value
        told = None
        while True:
            changed = self._changed
            if told != self._service.leadership:
                told = self._service.leadership
                yield Reply({"leader": told.leader_id, "term": told.term})
            image = self._service.image
            batches = self._service.batches_from(offset) if offset <= image.next_offset else []
            if batches is None:
                offset = image.next_offset
                for piece in _in_pieces(encode_snapshot(image), offset):
                    yield piece
                continue
            for together in _in_items(batches):
                offset = together[-1].first_offset + len(together[-1].records)
                yield Reply(
                    {"batches": [[each.first_offset, each.term, [*each.records]] for each in together]}
                )
            if not batches:
                await changed.wait()


def _in_items(batches: Sequence[CommittedBatch]) -> Iterator[Sequence[CommittedBatch]]:
    """Whoever is far behind gets many batches with each item, up to so many that it is large enough."""
    first = size = 0
    for number, batch in enumerate(batches, 1):
        size += sum(map(len, batch.records))
        if size >= FEED_ITEM or number == len(batches):
            yield batches[first:number]
            first, size = number, 0


def _in_pieces(snapshot: bytes, next_offset: int) -> Iterator[Reply]:
    """A snapshot may be larger than any message; each piece says whether more of it follow."""
    for end in range(FEED_ITEM, len(snapshot) + FEED_ITEM, FEED_ITEM):
        piece = snapshot[end - FEED_ITEM : end]
        yield Reply({"snapshot": piece, "next_offset": next_offset, "more": end < len(snapshot)})


def _ignore_failure(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
