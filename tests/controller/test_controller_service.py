"""The controller's shell on a real quorum in virtual time: commands in, replies when they are committed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from uuid import UUID

import pytest

from chaos.disk import DiskConditions
from chaos.network import Network, NetworkConditions
from chaos.quorum.invariants import QuorumInvariants
from chaos.quorum.node import SimulatedNode, World
from chaos.virtual_time import EventQueue
from kafkawire.errors import ErrorCode, KafkaError
from kraft.controller import service as service_module
from kraft.controller.service import ControllerService
from kraft.quorum.config import QuorumConfig
from kraft.quorum.driver import QuorumDriver
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    BrokerHeartbeat,
    ConfigAlteration,
    CreateTopics,
    CreateTopicsReply,
    IncrementalAlterConfigs,
    NewTopic,
    RegisterBroker,
    RegisterBrokerReply,
    Reply,
)
from metadata.controller.decision import ControllerConfig
from metadata.log import CommittedBatch, Leadership
from metadata.records import ConfigResourceType, Endpoint, NodeEndpoint
from metadata.serde import MAX_RECORD_BYTES

CLUSTER = "a-cluster"


class VirtualClock:
    """`kraft.clock.Clock` on the simulation's queue."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue

    def monotonic(self) -> float:
        return self._queue.time()

    def wall_ms(self) -> int:
        return round(self._queue.time() * 1000)


class Unwatched(QuorumInvariants):
    def after_event(self, node_id: int, driver: QuorumDriver) -> None:
        """These tests make up their own records."""


class ControllerNode(SimulatedNode):
    """A voter whose state machine is the controller's service."""

    def __init__(self, world: World, config: QuorumConfig, clock: VirtualClock) -> None:
        super().__init__(world, config, DiskConditions())
        static = {"min.insync.replicas": str(config.node_id)}
        rng = random.Random(config.node_id)
        self.service = ControllerService(ControllerConfig(CLUSTER, static=static), clock, rng)

    def start(self) -> None:
        super().start()
        assert self.driver is not None

    def on_committed(self, batch: CommittedBatch) -> None:
        self.service.on_committed(batch)

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        self.service.on_snapshot(snapshot, next_offset)

    def on_leadership(self, leadership: Leadership) -> None:
        assert self.driver is not None
        self.service.attach(self.driver)
        self.service.on_leadership(leadership)

    def take_snapshot(self) -> bytes:
        return self.service.take_snapshot()


class Quorum:
    """Three controllers; `until` lets virtual time pass, and the loop's own callbacks with it."""

    def __init__(self, **settings: int) -> None:
        rng = random.Random(7)
        self.queue = EventQueue()
        self.network = Network(self.queue, rng, NetworkConditions())
        world = World(self.queue, self.network, Unwatched(), rng)
        clock = VirtualClock(self.queue)
        self.nodes = [
            ControllerNode(world, QuorumConfig(node_id=voter, voters=(1, 2, 3), **settings), clock)
            for voter in (1, 2, 3)
        ]
        for node in self.nodes:
            node.start()

    async def turn(self) -> None:
        """Let the loop call what is due now, proposals among it."""
        loop = asyncio.get_running_loop()
        passed = loop.create_future()
        loop.call_soon(loop.call_soon, passed.set_result, None)
        await passed

    async def until(self, holds: Callable[[], bool], bound: float = 10.0) -> None:
        end = self.queue.time() + bound
        await self.turn()
        while not holds():
            assert self.queue.step(end), f"not within {bound} virtual seconds"
            await self.turn()

    async def active(self) -> ControllerNode:
        await self.until(lambda: any(node.service.active for node in self.nodes))
        return next(node for node in self.nodes if node.service.active)

    async def answer(self, future: asyncio.Future[Reply]) -> Reply:
        await self.until(future.done)
        return future.result()

    def isolate(self, node: ControllerNode) -> None:
        for other in self.nodes:
            if other is not node:
                self.network.cut(node.node_id, other.node_id)
                self.network.cut(other.node_id, node.node_id)


def registration(broker_id: int = 1) -> RegisterBroker:
    return RegisterBroker(
        broker_id,
        UUID(int=broker_id),
        CLUSTER,
        (Endpoint("PLAINTEXT", "localhost", 9092),),
        NodeEndpoint("localhost", 9093),
    )


async def with_broker(**settings: int) -> tuple[Quorum, ControllerNode]:
    """A quorum with one broker that may lead."""
    quorum = Quorum(**settings)
    node = await quorum.active()
    registered = await quorum.answer(node.service.submit(registration()))
    assert isinstance(registered, RegisterBrokerReply)
    offset = node.service.image.offset
    await quorum.answer(node.service.submit(BrokerHeartbeat(1, registered.broker_epoch, offset)))
    assert node.service.image.is_active(1)
    return quorum, node


def create(name: str) -> CreateTopics:
    return CreateTopics((NewTopic(name, 1, 1),))


def result_of(reply: Reply) -> ErrorCode:
    assert isinstance(reply, CreateTopicsReply)
    return reply.topics[0].error_code


async def test_the_second_command_sees_the_first_before_it_is_committed() -> None:
    quorum, node = await with_broker()
    first = node.service.submit(create("orders"))
    second = node.service.submit(create("orders"))
    assert "orders" not in node.service.image.topics
    assert result_of(await quorum.answer(first)) is ErrorCode.NONE
    assert result_of(await quorum.answer(second)) is ErrorCode.TOPIC_ALREADY_EXISTS


async def test_commands_of_one_turn_share_one_proposal() -> None:
    quorum, node = await with_broker()
    before = node.service.image.next_offset
    futures = [node.service.submit(create(f"topic-{number}")) for number in range(200)]
    for future in futures:
        assert result_of(await quorum.answer(future)) is ErrorCode.NONE
    batches = node.service.batches_from(before)
    assert batches is not None
    assert [batch.first_offset for batch in batches] == [before]
    assert len(batches[0].records) == 400


async def test_a_decision_of_many_records_is_split_from_the_others() -> None:
    quorum, node = await with_broker()
    before = node.service.image.next_offset
    large = CreateTopics(
        (NewTopic("large", service_module.MAX_RECORDS_PER_PROPOSAL, 1),),
    )
    futures = [node.service.submit(large), node.service.submit(create("small"))]
    for future in futures:
        assert result_of(await quorum.answer(future)) is ErrorCode.NONE
    batches = node.service.batches_from(before)
    assert batches is not None
    assert [len(batch.records) for batch in batches] == [service_module.MAX_RECORDS_PER_PROPOSAL + 1, 2]


async def test_nothing_is_answered_before_a_majority_has_it() -> None:
    quorum, node = await with_broker()
    quorum.isolate(node)
    lost = node.service.submit(create("lost"))
    await quorum.until(lambda: not node.service.active)
    await quorum.until(lost.done)
    with pytest.raises(KafkaError) as refused:
        lost.result()
    assert refused.value.code is ErrorCode.NOT_CONTROLLER
    assert "lost" not in node.service.image.topics


async def test_a_deposed_controller_drops_what_it_had_decided() -> None:
    quorum, node = await with_broker()
    quorum.isolate(node)
    node.service.submit(create("contested"))
    others = [other for other in quorum.nodes if other is not node]
    await quorum.until(lambda: any(other.service.active for other in others))
    successor = next(other for other in others if other.service.active)
    heartbeat = BrokerHeartbeat(1, successor.service.image.brokers[1].epoch, successor.service.image.offset)
    await quorum.answer(successor.service.submit(heartbeat))
    assert result_of(await quorum.answer(successor.service.submit(create("contested")))) is ErrorCode.NONE
    quorum.network.mend_all()
    await quorum.until(lambda: node.service.image.next_offset == successor.service.image.next_offset)
    assert node.service.image == successor.service.image
    assert len(node.service.image.topics) == 1


async def test_the_first_active_controller_settles_the_minimum_of_replicas() -> None:
    quorum = Quorum()
    node = await quorum.active()
    settled = {"min.insync.replicas": str(node.node_id)}
    await quorum.answer(node.service.submit(registration()))
    assert node.service.image.configs.cluster_defaults == settled
    assert node.service.image.brokers[1].epoch == 1
    quorum.isolate(node)
    others = [other for other in quorum.nodes if other is not node]
    await quorum.until(lambda: any(other.service.active for other in others))
    successor = next(other for other in others if other.service.active)
    await quorum.answer(successor.service.submit(registration(2)))
    assert successor.service.image.configs.cluster_defaults == settled
    assert successor.service.image.brokers[2].epoch == 2


async def test_a_standby_names_the_active_controller() -> None:
    quorum, node = await with_broker()
    standby = next(other for other in quorum.nodes if other is not node)
    await quorum.until(lambda: standby.service.leadership.leader_id == node.node_id)
    future = standby.service.submit(create("orders"))
    with pytest.raises(KafkaError) as refused:
        await future
    assert (refused.value.code, refused.value.message) == (ErrorCode.NOT_CONTROLLER, str(node.node_id))


async def test_a_reply_that_changes_nothing_waits_for_what_it_rests_on() -> None:
    quorum, node = await with_broker()
    created = node.service.submit(create("orders"))
    await quorum.turn()
    again = node.service.submit(create("orders"))
    await quorum.turn()
    assert not created.done()
    assert not again.done()
    assert result_of(await quorum.answer(again)) is ErrorCode.TOPIC_ALREADY_EXISTS
    assert created.done()


async def test_all_replies_that_wait_for_the_same_commit_leave_with_it() -> None:
    quorum, node = await with_broker()
    created = node.service.submit(create("orders"))
    again = []
    for _ in range(3):
        await quorum.turn()
        again.append(node.service.submit(create("orders")))
    await quorum.turn()
    await quorum.answer(created)
    await quorum.turn()
    assert [future.done() for future in again] == [True, True, True]


async def test_a_refused_command_is_answered_at_once_and_changes_nothing() -> None:
    _, node = await with_broker()
    before = node.service.image
    future = node.service.submit(BrokerHeartbeat(1, 12345, 0))
    assert future.done()
    with pytest.raises(KafkaError) as refused:
        future.result()
    assert refused.value.code is ErrorCode.STALE_BROKER_EPOCH
    assert node.service.image is before


async def test_commands_beyond_the_limit_are_refused() -> None:
    quorum, node = await with_broker()
    futures = [
        node.service.submit(create(f"topic-{number}")) for number in range(service_module.MAX_IN_FLIGHT + 1)
    ]
    with pytest.raises(KafkaError) as refused:
        futures[-1].result()
    assert refused.value.code is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    for future in futures[:-1]:
        await quorum.until(future.done)
    assert len(node.service.image.topics) == service_module.MAX_IN_FLIGHT
    assert result_of(await quorum.answer(node.service.submit(create("one-more")))) is ErrorCode.NONE


def throttle(topics: int, size: int) -> IncrementalAlterConfigs:
    """A change of as many topics, each with a value of `size` characters."""
    value = ",".join(["12345678:1"] * (size // 11))
    alteration = ConfigAlteration("leader.replication.throttled.replicas", AlterConfigOp.SET, value)
    names = (f"topic-{number}" for number in range(topics))
    return IncrementalAlterConfigs(
        tuple(AlterConfigsResource(ConfigResourceType.TOPIC, name, (alteration,)) for name in names)
    )


async def with_topics(count: int, **settings: int) -> tuple[Quorum, ControllerNode]:
    quorum, node = await with_broker(**settings)
    topics = CreateTopics(tuple(NewTopic(f"topic-{number}", 1, 1) for number in range(count)))
    assert result_of(await quorum.answer(node.service.submit(topics))) is ErrorCode.NONE
    return quorum, node


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({}, throttle(40, 32_000)),
        ({"max_entry_bytes": 3 * MAX_RECORD_BYTES}, throttle(1, 1_100_000)),
    ],
    ids=["more than a batch", "more than a record"],
)
async def test_what_is_too_large_for_the_log_is_refused_and_nothing_else_is_lost(
    settings: dict[str, int], command: IncrementalAlterConfigs
) -> None:
    quorum, node = await with_topics(40, **settings)
    before = node.service.image
    in_flight = node.service.submit(create("orders"))
    refused = node.service.submit(command)
    assert result_of(await quorum.answer(in_flight)) is ErrorCode.NONE
    await quorum.until(refused.done)
    with pytest.raises(KafkaError) as refusal:
        refused.result()
    assert refusal.value.code is ErrorCode.POLICY_VIOLATION
    assert node.service.image.configs == before.configs
    assert result_of(await quorum.answer(node.service.submit(create("invoices")))) is ErrorCode.NONE


async def test_commands_of_one_turn_that_do_not_fit_together_are_proposed_apart() -> None:
    quorum, node = await with_topics(20)
    term = node.service.leadership.term
    futures = [node.service.submit(throttle(20, size)) for size in (32_000, 31_000, 30_000)]
    for future in futures:
        await quorum.answer(future)
    assert node.service.active
    assert node.service.leadership.term == term


async def test_batches_bring_an_image_up_to_date_and_only_whole_ones() -> None:
    quorum, node = await with_broker()
    image = node.service.image
    await quorum.answer(node.service.submit(create("orders")))
    assert node.service.batches_from(node.service.image.next_offset) == []
    assert node.service.batches_from(node.service.image.next_offset + 1) is None
    batches = node.service.batches_from(image.next_offset)
    assert batches is not None
    assert sum(len(batch.records) for batch in batches) == node.service.image.next_offset - image.next_offset


async def test_a_controller_keeps_so_many_bytes_of_batches_for_brokers_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_module, "MAX_RECENT_BYTES", 20_000)
    quorum, node = await with_broker()
    before = node.service.image.next_offset
    for number in range(4):
        topics = CreateTopics((NewTopic(f"topic-{number}", 60, 1),))
        assert result_of(await quorum.answer(node.service.submit(topics))) is ErrorCode.NONE
    assert node.service.batches_from(before) is None
    kept = node.service.batches_from(node.service.image.next_offset - 1)
    assert kept is not None
    assert len(kept) == 1


async def test_the_last_batch_is_kept_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "MAX_RECENT_BYTES", 1)
    quorum, node = await with_broker()
    before = node.service.image.next_offset
    await quorum.answer(node.service.submit(create("orders")))
    assert node.service.batches_from(before) is not None
