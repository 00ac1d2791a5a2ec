"""The controller against a model of brokers with logs: whatever happens in whatever order, a leader that was
elected cleanly has every committed record."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafkawire.errors import ErrorCode, KafkaError
from metadata.config_keys import topic_config
from metadata.controller.commands import (
    AllocateProducerIds,
    AlterConfigOp,
    AlterConfigsResource,
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionReply,
    BrokerConnected,
    BrokerDisconnected,
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    Command,
    ConfigAlteration,
    ConfigEntry,
    CreatePartitions,
    CreateTopics,
    CreateTopicsReply,
    DeleteTopics,
    ElectionType,
    ElectLeaders,
    IncrementalAlterConfigs,
    IsrMember,
    NewPartitions,
    NewTopic,
    RegisterBroker,
    RegisterBrokerReply,
    Reply,
    UnregisterBroker,
)
from metadata.controller.decision import ControllerConfig
from metadata.controller.instant import InstantController
from metadata.controller.partition_commands import (
    AlterPartitionReassignments,
    AlterPartitionReassignmentsReply,
    Reassignment,
)
from metadata.image import EMPTY_IMAGE, MetadataImage, PartitionImage
from metadata.invariants import image_violations, step_violations
from metadata.records import Endpoint, NodeEndpoint
from metadata.snapshot import decode_snapshot, encode_snapshot

BROKERS = (1, 2, 3, 4)
TOPICS = ("a", "b", "c")
Key = tuple[UUID, int]


@dataclass
class Process:
    """A broker as it really is, whatever the controller believes. `clean_epoch` survives a clean stop
    only."""

    alive: bool = False
    epoch: int = -1
    clean_epoch: int = -1
    should_stop: bool = False


@dataclass
class Partition:
    """The logs of a partition's replicas. `committed` is what producers were told to be safe."""

    logs: dict[int, list[int]] = field(default_factory=dict)
    committed: list[int] = field(default_factory=list)


def common(one: list[int], other: list[int]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


class Cluster(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ids = 0
        self.processes = {broker: Process() for broker in BROKERS}
        self.partitions: dict[Key, Partition] = {}

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        config = ControllerConfig("cluster", leader_balance_interval=5.0)
        self.controller = InstantController(config, random.Random(seed), observe=self.observe)
        for broker in BROKERS[:3]:
            self.start_broker(broker, 0)
            self.heartbeat(broker, False, False)
        self.create("a", 2, 3, 2)

    @property
    def image(self) -> MetadataImage:
        return self.controller.image

    def observe(self, old: MetadataImage, new: MetadataImage) -> None:
        assert step_violations(old, new) == []
        for entry in new.topics.partitions():
            key = entry.topic.topic_id, entry.number
            model = self.partitions.setdefault(key, Partition())
            before = old.topics.by_id.get(entry.topic.topic_id)
            was = before.partition(entry.number) if before is not None else None
            for broker in set(model.logs).difference(entry.partition.replicas):
                del model.logs[broker]
            if was is not None and was.leader_epoch != entry.partition.leader_epoch:
                self.elected(model, entry.partition)
        self.enough_is_eligible(new)

    def enough_is_eligible(self, image: MetadataImage) -> None:
        for entry in image.topics.partitions():
            enough = min(self.min_isr(entry.topic.name), len(entry.partition.replicas))
            if len(entry.partition.isr) >= enough:
                assert entry.partition.elr == (), entry

    def elected(self, model: Partition, now: PartitionImage) -> None:
        if not now.has_leader:
            return
        log = model.logs.setdefault(now.leader, [])
        held = common(log, model.committed)
        if now.recovering:
            model.committed = model.committed[:held]
        else:
            assert held == len(model.committed), (now, model)

    def min_isr(self, topic: str) -> int:
        value = topic_config(self.image.configs.topic(topic))["min.insync.replicas"]
        assert isinstance(value, int)
        return value

    def ask(self, command: Command) -> Reply | None:
        """None if the command is refused, and then nothing may have changed."""
        before = self.image
        try:
            return self.controller.ask(command, self.now)
        except KafkaError:
            assert self.image is before
            return None

    def leading(self) -> list[tuple[Key, PartitionImage]]:
        """Partitions whose leader is a live process that the controller knows."""
        return [
            ((entry.topic.topic_id, entry.number), entry.partition)
            for entry in self.image.topics.partitions()
            if entry.partition.has_leader and self.current(entry.partition.leader)
        ]

    def current(self, broker: int) -> bool:
        process = self.processes[broker]
        known = self.image.brokers.get(broker)
        return process.alive and known is not None and known.epoch == process.epoch

    # Brokers

    @rule(broker=st.sampled_from(BROKERS), loss=st.integers(0, 3))
    def start_broker(self, broker: int, loss: int) -> None:
        """Start a process. After an unclean stop the ends of its logs may be gone."""
        process = self.processes[broker]
        if process.alive:
            return
        self.ids += 1
        reply = self.ask(
            RegisterBroker(
                broker,
                UUID(int=self.ids),
                "cluster",
                (Endpoint("PLAINTEXT", f"host{broker}", 9092),),
                NodeEndpoint(f"host{broker}", 9093),
                rack=f"rack{broker % 2}",
                previous_broker_epoch=process.clean_epoch,
            )
        )
        if not isinstance(reply, RegisterBrokerReply):
            return
        if process.clean_epoch == -1 and loss:
            for partition in self.partitions.values():
                log = partition.logs.get(broker, [])
                del log[max(0, len(log) - loss) :]
        process.alive, process.epoch, process.clean_epoch, process.should_stop = (
            True,
            reply.broker_epoch,
            -1,
            False,
        )
        assert reply.broker_epoch <= self.image.offset

    @rule(broker=st.sampled_from(BROKERS))
    def kill(self, broker: int) -> None:
        """A process dies and nobody notices yet."""
        self.processes[broker].alive = False

    @rule(broker=st.sampled_from(BROKERS), back=st.booleans(), loss=st.integers(0, 4))
    def crash(self, broker: int, back: bool, loss: int) -> None:
        """A process dies, its connections close, and the grace passes unless it comes back at once."""
        process = self.processes[broker]
        if process.alive:
            process.alive = False
            self.ask(BrokerDisconnected(broker, process.epoch))
        if not back:
            self.pass_time(0.3)
        self.restart(broker, loss)

    @rule(broker=st.sampled_from(BROKERS), loss=st.integers(0, 4))
    def restart(self, broker: int, loss: int) -> None:
        self.start_broker(broker, loss)
        self.heartbeat(broker, False, False)

    @rule(brokers=st.sets(st.sampled_from(BROKERS), min_size=2), loss=st.integers(0, 4))
    def outage(self, brokers: set[int], loss: int) -> None:
        """Several die one after the other; they stay down."""
        for broker in sorted(brokers, key=lambda each: (each * 7 + loss) % 5):
            process = self.processes[broker]
            if process.alive:
                process.alive = False
                self.ask(BrokerDisconnected(broker, process.epoch))
                self.pass_time(0.3)

    @rule(broker=st.sampled_from(BROKERS), want_fence=st.booleans(), want_shutdown=st.booleans())
    def heartbeat(self, broker: int, want_fence: bool, want_shutdown: bool) -> None:
        process = self.processes[broker]
        if not process.alive:
            return
        reply = self.ask(BrokerHeartbeat(broker, process.epoch, self.image.offset, want_fence, want_shutdown))
        if isinstance(reply, BrokerHeartbeatReply):
            assert reply.is_fenced == self.image.brokers[broker].fenced
            process.should_stop = reply.should_shutdown
            if reply.should_shutdown:
                assert all(partition.leader != broker for _, partition in self.leading())

    @rule(broker=st.sampled_from(BROKERS))
    def stop_cleanly(self, broker: int) -> None:
        process = self.processes[broker]
        if process.alive and process.should_stop:
            process.alive, process.clean_epoch = False, process.epoch

    @rule(broker=st.sampled_from(BROKERS), up=st.booleans())
    def stream(self, broker: int, up: bool) -> None:
        process = self.processes[broker]
        if process.alive:
            command = BrokerConnected if up else BrokerDisconnected
            self.ask(command(broker, process.epoch))

    @rule(step=st.sampled_from([0.05, 0.3, 1.1, 4.0]))
    def pass_time(self, step: float) -> None:
        self.now += step
        self.controller.tick(self.now)
        assert self.controller.next_deadline(self.now) > self.now

    @rule()
    def take_over(self) -> None:
        self.controller.take_over(self.now)

    # Topics

    @rule(
        name=st.sampled_from(TOPICS),
        count=st.integers(-2, 3),
        factor=st.integers(-1, 5),
        min_isr=st.integers(1, 3),
    )
    def create(self, name: str, count: int, factor: int, min_isr: int) -> None:
        configs = (ConfigEntry("min.insync.replicas", str(min_isr)),)
        before = self.image
        reply = self.ask(CreateTopics((NewTopic(name, count, factor, configs=configs),)))
        assert isinstance(reply, CreateTopicsReply)
        created = reply.topics[0].error_code is ErrorCode.NONE
        assert created == (self.image is not before)

    @rule(name=st.sampled_from(TOPICS[1:]), count=st.integers(0, 4))
    def delete_or_grow(self, name: str, count: int) -> None:
        self.ask(CreatePartitions((NewPartitions(name, count),)) if count else DeleteTopics((name,)))

    @rule(
        name=st.sampled_from(TOPICS),
        min_isr=st.integers(1, 3),
        unclean=st.sampled_from([None, None, "true", "false"]),
    )
    def configure(self, name: str, min_isr: int, unclean: str | None) -> None:
        ops = [ConfigAlteration("min.insync.replicas", AlterConfigOp.SET, str(min_isr))]
        if unclean is not None:
            ops.append(ConfigAlteration("unclean.leader.election.enable", AlterConfigOp.SET, unclean))
        self.ask(IncrementalAlterConfigs((AlterConfigsResource(2, name, tuple(ops)),)))

    @rule(kind=st.sampled_from(ElectionType), lucky=st.integers(0, 3))
    def elect(self, kind: ElectionType, lucky: int) -> None:
        if kind is ElectionType.PREFERRED or lucky == 0:
            self.ask(ElectLeaders(kind))

    @rule(
        name=st.sampled_from(TOPICS),
        number=st.integers(0, 2),
        replicas=st.none() | st.lists(st.sampled_from(BROKERS), min_size=1, unique=True),
        allow_change=st.booleans(),
    )
    def reassign(self, name: str, number: int, replicas: list[int] | None, allow_change: bool) -> None:
        """Move a partition, or give that up."""
        before = self.image.topics.partition(name, number)
        wanted = Reassignment(name, number, None if replicas is None else tuple(replicas))
        reply = self.ask(AlterPartitionReassignments((wanted,), allow_change))
        assert isinstance(reply, AlterPartitionReassignmentsReply)
        assert reply.offset == self.image.offset
        after = self.image.topics.partition(name, number)
        if reply.partitions[0].error_code is not ErrorCode.NONE:
            assert after == before
            return
        assert before is not None
        assert after is not None
        if replicas is None:
            assert after.adding == after.removing == ()
        else:
            assert [each for each in after.replicas if each not in after.removing] == replicas

    @rule(broker=st.sampled_from(BROKERS))
    def seldom(self, broker: int) -> None:
        process = self.processes[broker]
        self.ask(AllocateProducerIds(broker, process.epoch))
        if not process.alive:
            self.ask(UnregisterBroker(broker))

    # Replication

    def copy(self, key: Key, partition: PartitionImage, lag: int) -> None:
        """Followers fetch all but `lag` records, and the leader moves the high watermark as far as it may."""
        model = self.partitions[key]
        source = model.logs.setdefault(partition.leader, [])
        for follower in partition.replicas:
            if follower != partition.leader and self.current(follower):
                held = common(model.logs.setdefault(follower, []), source)
                model.logs[follower] = source[: max(held, len(source) - lag)]
        name = self.image.topics.by_id[key[0]].name
        if len(partition.isr) >= min(self.min_isr(name), len(partition.replicas)):
            reached = min(common(model.logs.get(member, []), source) for member in partition.isr)
            if reached > len(model.committed):
                model.committed = source[:reached]

    def caught_up(self, key: Key, partition: PartitionImage) -> list[int]:
        """Replicas that the leader may propose: those that have every committed record."""
        model = self.partitions[key]
        source = model.logs.setdefault(partition.leader, [])
        return [
            replica
            for replica in partition.replicas
            if replica == partition.leader
            or (common(model.logs.get(replica, []), source) >= len(model.committed) and self.current(replica))
        ]

    def propose(self, key: Key, partition: PartitionImage, members: list[int], stale: int = 0) -> None:
        isr = tuple(
            IsrMember(member, self.processes[member].epoch)
            for member in dict.fromkeys([partition.leader, *members])
        )
        before = self.image
        item = AlterPartitionItem(*key, partition.leader_epoch, partition.partition_epoch - stale, isr)
        reply = self.ask(AlterPartition(partition.leader, self.processes[partition.leader].epoch, (item,)))
        assert isinstance(reply, AlterPartitionReply)
        # A reassignment that is done may end the leadership of the one who reported it.
        if reply.partitions[0].error_code not in (ErrorCode.NONE, ErrorCode.NEW_LEADER_ELECTED):
            assert self.image is before

    @rule(records=st.integers(1, 2), lag=st.integers(0, 1), commits=st.booleans())
    def work(self, records: int, lag: int, commits: bool) -> None:
        """Every leader writes, its followers copy, those who have everything join the ISR."""
        for key, partition in self.leading():
            log = self.partitions[key].logs.setdefault(partition.leader, [])
            for _ in range(records):
                self.ids += 1
                log.append(self.ids)
            if commits:
                self.copy(key, partition, 0)
                self.propose(key, partition, self.caught_up(key, partition))
        for key, partition in self.leading():
            self.copy(key, partition, lag)

    @precondition(lambda self: self.leading())
    @rule(data=st.data(), stale=st.sampled_from([0, 0, 0, 1]))
    def alter_isr(self, data: st.DataObject, stale: int) -> None:
        """A leader proposes an ISR: any members may leave, those who caught up may join."""
        key, partition = data.draw(st.sampled_from(self.leading()))
        members = data.draw(st.lists(st.sampled_from(self.caught_up(key, partition)), unique=True))
        self.propose(key, partition, members, stale)

    @precondition(lambda self: self.leading())
    @rule(data=st.data(), broker=st.sampled_from(BROKERS))
    def late_proposal(self, data: st.DataObject, broker: int) -> None:
        """A follower loses its log while the proposal that adds it is under way."""
        key, partition = data.draw(st.sampled_from(self.leading()))
        if broker == partition.leader or broker not in self.caught_up(key, partition):
            return
        members = [*partition.isr, broker]
        epochs = {member: self.processes[member].epoch for member in members}
        self.crash(broker, True, 4)
        isr = tuple(IsrMember(member, epochs[member]) for member in dict.fromkeys(members))
        now = self.image.topics.by_id[key[0]].partitions[key[1]]
        if now.leader == partition.leader and self.current(now.leader):
            item = AlterPartitionItem(*key, now.leader_epoch, now.partition_epoch, isr)
            self.ask(AlterPartition(now.leader, self.processes[now.leader].epoch, (item,)))

    # What always holds

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "controller"):
            assert image_violations(self.image) == []

    def teardown(self) -> None:
        if not hasattr(self, "controller"):
            return
        self.replay_is_snapshot()
        self.heals()

    def replay_is_snapshot(self) -> None:
        replayed = EMPTY_IMAGE.apply(self.controller.log, 0)
        assert replayed == self.image
        assert decode_snapshot(encode_snapshot(replayed)) == replayed

    def heals(self) -> None:
        """Everybody comes back: nobody stays fenced, and only lost eligible replicas keep a partition
        down."""
        self.now += 10
        self.controller.tick(self.now)
        for broker in BROKERS:
            self.start_broker(broker, 0)
            self.heartbeat(broker, False, False)
            process = self.processes[broker]
            if self.image.brokers[broker].in_controlled_shutdown:
                process.alive = False
                self.start_broker(broker, 0)
                self.heartbeat(broker, False, False)
        assert all(self.image.is_active(broker) for broker in BROKERS)
        for entry in self.image.topics.partitions():
            assert entry.partition.has_leader, entry
        self.reassignments_end()

    def reassignments_end(self) -> None:
        """Once all have caught up every reassignment is done: nobody but its replicas holds a partition."""
        for key, _ in self.leading():
            for _ in range(2):
                now = self.image.topics.by_id[key[0]].partitions[key[1]]
                self.copy(key, now, 0)
                self.propose(key, now, self.caught_up(key, now))
        for entry in self.image.topics.partitions():
            assert entry.partition.adding == entry.partition.removing == (), entry
            assert set(entry.partition.isr) == set(entry.partition.replicas), entry


Cluster.TestCase.settings = settings(
    max_examples=120, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCluster = pytest.mark.filterwarnings("default")(Cluster.TestCase)
