"""The feed of committed metadata, from a controller's endpoints to the image that a broker makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from kraft.broker.metadata_feed import MetadataFeed
from kraft.controller.endpoints import FEED_ITEM, ControllerEndpoints
from kraft.transport.handlers import Handlers
from kraft.transport.handshake import Identity, Session
from kraft.transport.limits import DEFAULT_LIMITS
from kraft.transport.link import Link
from kraft.transport.messages import Response
from metadata.calls import METADATA_FEED
from metadata.controller.commands import CreateTopics, NewTopic
from metadata.delta import MetadataDelta
from tests.controller.test_controller_service import ControllerNode, with_broker

TOPICS = 6
PARTITIONS = 400
"""Partitions of a topic: two or three topics have more records than an item of the feed takes."""


class Follower:
    """A broker, as far as the feed knows."""

    def __init__(self) -> None:
        self.images = 0
        self.offset = -1

    def on_metadata(self, delta: MetadataDelta) -> None:
        self.images += 1
        self.offset = delta.new.offset


async def items_of(node: ControllerNode) -> list[Any]:
    """What the feed has to say up to the newest record, or to the end of a snapshot."""
    handlers = Handlers(DEFAULT_LIMITS, on_fatal=lambda error: None)
    ControllerEndpoints(node.service, describe_quorum=lambda: None).register(handlers)  # type: ignore[arg-type,return-value]
    link = Link(Session(bytes(16), b"", Identity(1, "a-cluster", "broker")), lambda: None)
    items: list[Any] = []
    async with aclosing(handlers.streams[METADATA_FEED](link, 0)) as replies:  # type: ignore[type-var]
        async for reply in replies:
            items.append(reply.value)
            if "snapshot" in reply.value and not reply.value.get("more"):
                return items
            for first_offset, _, records in reply.value.get("batches", ()):
                if first_offset + len(records) == node.service.image.next_offset:
                    return items
    raise AssertionError("the feed ended")


async def test_who_is_far_behind_gets_many_batches_together() -> None:
    quorum, node = await with_broker()
    for number in range(TOPICS):
        topic = NewTopic(f"topic-{number}", PARTITIONS, 1)
        await quorum.answer(node.service.submit(CreateTopics((topic,))))
    leader, *items = await items_of(node)
    assert leader == {"leader": node.node_id, "term": node.service.leadership.term}
    batches = [batch for item in items for batch in item["batches"]]
    assert 1 < len(items) < len(batches)
    expected = 0
    for first_offset, _, records in batches:
        assert first_offset == expected
        expected += len(records)
    assert expected == node.service.image.next_offset
    for item in items[:-1]:
        sizes = [sum(map(len, records)) for _, _, records in item["batches"]]
        assert sum(sizes[:-1]) < FEED_ITEM <= sum(sizes)


async def test_a_broker_takes_an_item_as_one_change() -> None:
    quorum, node = await with_broker()
    await quorum.answer(node.service.submit(CreateTopics((NewTopic("orders", 3, 1),))))
    follower = Follower()
    feed = MetadataFeed({}, follower, on_leader=lambda leader_id: None)
    items = await items_of(node)
    for item in items:
        feed._take(item)
    assert follower.images == len(items) - 1 == 1
    assert follower.offset == node.service.image.offset


async def test_a_snapshot_comes_in_pieces_and_is_taken_as_one_change() -> None:
    quorum, node = await with_broker()
    for number in range(TOPICS):
        topic = NewTopic(f"topic-{number}", PARTITIONS, 1)
        await quorum.answer(node.service.submit(CreateTopics((topic,))))
    node.service.on_snapshot(node.service.take_snapshot(), node.service.image.next_offset)
    _, *pieces = await items_of(node)
    assert max(len(item["snapshot"]) for item in pieces) <= FEED_ITEM < len(node.service.take_snapshot())
    follower = Follower()
    feed = MetadataFeed({}, follower, on_leader=lambda leader_id: None)
    for item in pieces:
        assert follower.images == 0
        feed._take(item)
    assert follower.images == 1
    assert follower.offset == node.service.image.offset


class Controller:
    """A link to a controller that sends `items`, then ends."""

    peer_id = 1
    connected = True

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    async def stream(self, method: str, value: Any) -> AsyncIterator[Response]:
        assert method == METADATA_FEED
        for item in self._items:
            yield Response(item, b"")


async def test_a_broker_that_starts_over_is_not_told_of_what_was_before() -> None:
    """It would take topics that are younger than an image for deleted, and delete what it has of them."""
    quorum, node = await with_broker()
    for number in range(TOPICS):
        topic = NewTopic(f"topic-{number}", PARTITIONS, 1)
        await quorum.answer(node.service.submit(CreateTopics((topic,))))
    follower = Follower()
    feed = MetadataFeed({}, follower, on_leader=lambda leader_id: None)
    items = await items_of(node)
    await feed._follow(Controller(["no item of a feed"]))  # type: ignore[arg-type]
    await feed._follow(Controller([*items, "no item of a feed"]))  # type: ignore[arg-type]
    told = follower.images
    assert follower.offset == node.service.image.offset
    for end in range(2, len(items)):
        await feed._follow(Controller([*items[:end], "no item of a feed"]))  # type: ignore[arg-type]
        assert follower.images == told
    await feed._follow(Controller(items))  # type: ignore[arg-type]
    assert (follower.images, follower.offset) == (told + 1, node.service.image.offset)


class Silent:
    """A link to a controller that has nothing to say."""

    connected = True

    def __init__(self, peer_id: int) -> None:
        self.peer_id = peer_id
        self.followed = asyncio.Event()
        self.left = asyncio.Event()

    async def stream(self, method: str, value: Any) -> AsyncIterator[Response]:
        self.followed.set()
        try:
            await asyncio.get_running_loop().create_future()
            yield Response(None, b"")
        finally:
            self.left.set()


async def test_a_broker_leaves_a_controller_for_the_active_one() -> None:
    """That one may be cut off from the others, and would never hear of anything."""
    standby, active = Silent(1), Silent(2)
    feed = MetadataFeed({1: standby, 2: active}, Follower(), on_leader=lambda leader_id: None)  # type: ignore[dict-item]
    following = asyncio.create_task(feed.run())
    async with asyncio.timeout(10):
        await standby.followed.wait()
        feed.prefer(2)
        feed.prefer(2)
        await active.followed.wait()
    feed.prefer(2)
    assert standby.left.is_set()
    assert not active.left.is_set()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
