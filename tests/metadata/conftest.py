"""A small cluster whose controller commits at once, with every image checked on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from uuid import UUID

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.commands import (
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionReply,
    AlterPartitionResult,
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    Command,
    ConfigEntry,
    CreateTopics,
    CreateTopicsReply,
    IsrMember,
    NewTopic,
    RegisterBroker,
    RegisterBrokerReply,
    ReplicaAssignment,
    Reply,
)
from metadata.controller.decision import ControllerConfig
from metadata.controller.instant import InstantController
from metadata.image import BrokerImage, MetadataImage, PartitionImage, TopicImage
from metadata.invariants import image_violations, step_violations
from metadata.records import Endpoint, LeaderRecoveryState, NodeEndpoint, Record


class Cluster:
    """Commands in short. `now` is moved by hand."""

    def __init__(self, config: ControllerConfig) -> None:
        self.now = 100.0
        self.incarnations = 0
        self.epochs: dict[int, int] = {}
        self.controller = InstantController(config, random.Random(1), self.now, self._check)

    @staticmethod
    def _check(old: MetadataImage, new: MetadataImage) -> None:
        assert step_violations(old, new) == []
        assert image_violations(new) == []

    @property
    def image(self) -> MetadataImage:
        return self.controller.image

    def ask(self, command: Command) -> Reply:
        return self.controller.ask(command, self.now)

    def refused(self, command: Command) -> KafkaError:
        """The error of a command that must be refused as a whole; nothing may have changed."""
        before = self.image
        with pytest.raises(KafkaError) as caught:
            self.ask(command)
        assert self.image is before
        return caught.value

    def take_over(self, **config: object) -> None:
        """Another controller becomes active; `config` is where its file differs."""
        self.controller.config = replace(self.controller.config, **config)  # type: ignore[arg-type]
        self.controller.take_over(self.now)

    def inherit(self, *records: Record) -> None:
        """Records that no controller of this release would have written."""
        self.controller.commit(records)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.controller.tick(self.now)

    def registration(
        self, broker_id: int, *, previous: int = -1, rack: str | None = None, same: bool = False
    ) -> RegisterBroker:
        self.incarnations += not same
        return RegisterBroker(
            broker_id,
            UUID(int=self.incarnations),
            "cluster",
            (Endpoint("PLAINTEXT", f"host{broker_id}", 9092),),
            NodeEndpoint(f"host{broker_id}", 9093),
            rack,
            previous,
        )

    def register(self, broker_id: int, *, previous: int = -1, rack: str | None = None) -> int:
        reply = self.ask(self.registration(broker_id, previous=previous, rack=rack))
        assert isinstance(reply, RegisterBrokerReply)
        self.epochs[broker_id] = reply.broker_epoch
        return reply.broker_epoch

    def heartbeat(
        self,
        broker_id: int,
        *,
        want_fence: bool = False,
        want_shutdown: bool = False,
        offset: int | None = None,
    ) -> BrokerHeartbeatReply:
        applied = self.image.offset if offset is None else offset
        reply = self.ask(
            BrokerHeartbeat(broker_id, self.epochs[broker_id], applied, want_fence, want_shutdown)
        )
        assert isinstance(reply, BrokerHeartbeatReply)
        return reply

    def start(self, *broker_ids: int, racks: dict[int, str] | None = None) -> None:
        """Register brokers and unfence them."""
        for broker_id in broker_ids:
            self.register(broker_id, rack=(racks or {}).get(broker_id))
            assert not self.heartbeat(broker_id).is_fenced

    def fence(self, *broker_ids: int) -> None:
        for broker_id in broker_ids:
            assert self.heartbeat(broker_id, want_fence=True).is_fenced

    def restart(self, broker_id: int, *, clean: bool) -> None:
        """Register a new incarnation of a broker that was fenced."""
        self.controller.ask(
            self.registration(broker_id, previous=self.epochs[broker_id] if clean else -1), self.now + 60
        )
        self.epochs[broker_id] = self.broker(broker_id).epoch

    def create(self, name: str, *replicas: tuple[int, ...], **configs: str) -> TopicImage:
        """A topic with these replicas; configs with underscores for dots."""
        entries = tuple(ConfigEntry(key.replace("_", "."), value) for key, value in configs.items())
        assignments = tuple(ReplicaAssignment(number, each) for number, each in enumerate(replicas))
        reply = self.ask(CreateTopics((NewTopic(name, assignments=assignments, configs=entries),)))
        assert isinstance(reply, CreateTopicsReply)
        assert reply.topics[0].error_code is ErrorCode.NONE, reply.topics[0].error_message
        return self.image.topics.by_name[name]

    def broker(self, broker_id: int) -> BrokerImage:
        return self.image.brokers[broker_id]

    def partition(self, name: str = "t", number: int = 0) -> PartitionImage:
        return self.image.topics.by_name[name].partitions[number]

    def proposal(self, isr: tuple[int, ...], number: int = 0, **changes: object) -> AlterPartitionItem:
        """A proposal for a partition of t that fits the present state, apart from `changes`."""
        partition = self.partition("t", number)
        fields: dict[str, object] = {
            "topic_id": self.image.topics.by_name["t"].topic_id,
            "partition": number,
            "leader_epoch": partition.leader_epoch,
            "partition_epoch": partition.partition_epoch,
            "new_isr": tuple(IsrMember(member, self.epochs.get(member, 0)) for member in isr),
            "leader_recovery_state": LeaderRecoveryState.RECOVERED,
            **changes,
        }
        return AlterPartitionItem(**fields)  # type: ignore[arg-type]

    def alter_isr(self, item: AlterPartitionItem, sender: int | None = None) -> AlterPartitionResult:
        """What comes of a proposal that the leader (or `sender`) makes."""
        broker_id = self.partition().leader if sender is None else sender
        before = self.image
        reply = self.ask(AlterPartition(broker_id, self.epochs[broker_id], (item,)))
        assert isinstance(reply, AlterPartitionReply)
        if reply.partitions[0].error_code not in {ErrorCode.NONE, ErrorCode.NEW_LEADER_ELECTED}:
            assert self.image is before
        return reply.partitions[0]


@pytest.fixture
def make_cluster() -> Callable[..., Cluster]:
    def make(**config: object) -> Cluster:
        return Cluster(ControllerConfig("cluster", **config))  # type: ignore[arg-type]

    return make


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three unfenced brokers, no topics."""
    made = make_cluster()
    made.start(1, 2, 3)
    return made
