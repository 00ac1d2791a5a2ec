"""Every partition that this broker hosts, kept as the metadata says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol
from uuid import UUID

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import TopicRef
from logstore.config import LogConfig
from logstore.log import Log
from metadata.delta import MetadataDelta, PartitionDelta, changes_for
from metadata.image import EMPTY_IMAGE, MetadataImage, PartitionImage
from replication.fetch_messages import Key
from replication.fetcher import LeaderFetcher
from replication.follower import Follower
from replication.leader import Leader
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings


class LogHost(Protocol):
    """Where the logs live: the port to this broker's log directories."""

    def open(self, topic: str, topic_id: UUID, index: int, config: LogConfig) -> tuple[Log, int]:
        """Open or create a replica's log; returns it with its checkpointed high watermark."""

    def delete(self, log: Log) -> None:
        """The replica no longer belongs here: its files go."""


class TopicSettings(Protocol):
    """The port to configuration: what a topic's keys say, in the parts' own terms."""

    def log_config(self, image: MetadataImage, topic: str) -> LogConfig: ...

    def replication_settings(self, image: MetadataImage, topic: str) -> ReplicationSettings: ...


class Replicas:
    """The partitions, by their topic's name or id, and one fetcher for each broker that we follow."""

    def __init__(
        self,
        local_id: int,
        host: LogHost,
        settings: TopicSettings,
        outbox: Outbox,
        on_fetcher: Callable[[LeaderFetcher], None],
    ) -> None:
        self.local_id = local_id
        self.outbox = outbox
        self.fetchers: dict[int, LeaderFetcher] = {}
        self._host = host
        self._settings = settings
        self._on_fetcher = on_fetcher
        self._image = EMPTY_IMAGE
        self._by_ref: dict[tuple[TopicRef, int], Partition] = {}
        self._by_key: dict[Key, Partition] = {}

    def __iter__(self) -> Iterator[Partition]:
        return iter(tuple(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def by_key(self, key: Key) -> Partition | None:
        return self._by_key.get(key)

    def get(self, topic: TopicRef, index: int) -> Partition | None:
        return self._by_ref.get((topic, index))

    def of_topic(self, topic: str) -> list[Partition]:
        """The partitions of a topic that are here."""
        known = self._image.topics.get(topic)
        every = range(len(known.partitions)) if known is not None else ()
        return [self._by_ref[topic, index] for index in every if (topic, index) in self._by_ref]

    def find(self, topic: TopicRef, index: int) -> Partition:
        """The replica that a client asks for. Raises KafkaError NOT_LEADER_OR_FOLLOWER if it is elsewhere,
        UNKNOWN_TOPIC_OR_PARTITION if it is nowhere, UNKNOWN_TOPIC_ID if no topic has the id."""
        partition = self._by_ref.get((topic, index))
        if partition is not None:
            return partition
        known = self._image.topics.find(topic)
        if known is None and isinstance(topic, bytes):
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        if known is not None and 0 <= index < len(known.partitions):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)

    def broker_epoch_if_eligible(self, broker_id: int) -> int | None:
        """The epoch of a broker that may join an ISR now, else None (see `BrokerEpochs`)."""
        broker = self._image.brokers.get(broker_id)
        return broker.epoch if broker is not None and broker.active else None

    # -- metadata ---------------------------------------------------------------------------------

    def apply(self, image: MetadataImage, now: float) -> dict[str, int]:
        """Become what `image` says. Logs are opened before roles change, so that a client that is told of a
        leader finds it ready. Returns how many partitions this broker leads or follows anew, and how
        many left it, by those words; nothing where nothing changed. Raises StorageError."""
        old, self._image = self._image, image
        delta = MetadataDelta(old, image)
        changes = changes_for(delta, self.local_id)
        for gone in (*changes.delete, *changes.stop):
            partition = self._by_key.get((gone.topic_id.bytes, gone.partition))
            if partition is not None:
                self._remove(partition)
        if changes.topic_configs or changes.broker_configs:
            # First, because an ISR is to be read with the min.insync.replicas under which it was made.
            self._reconfigure(image, None if changes.broker_configs else changes.topic_configs)
        for change in (*changes.lead, *changes.follow):
            partition = self._by_key.get((change.topic_id.bytes, change.partition)) or self._open(change)
            self._give_role(partition, change.new, now)
        counts = {
            "lead": sum(change.leader_epoch_changed for change in changes.lead),
            "follow": sum(change.leader_epoch_changed for change in changes.follow),
            "gone": len(changes.delete) + len(changes.stop),
        }
        if delta.brokers:
            for partition in self:
                partition.reconsider_isr(now)
        return {word: count for word, count in counts.items() if count}

    def _open(self, change: PartitionDelta) -> Partition:
        config = self._settings.log_config(self._image, change.topic)
        log, high_watermark = self._host.open(change.topic, change.topic_id, change.partition, config)
        partition = Partition(
            change.topic,
            (change.topic_id.bytes, change.partition),
            log,
            self.local_id,
            self._settings.replication_settings(self._image, change.topic),
            self.outbox,
            high_watermark=high_watermark,
        )
        self._by_key[partition.key] = partition
        self._by_ref[partition.key] = self._by_ref[change.topic, change.partition] = partition
        return partition

    def _give_role(self, partition: Partition, image: PartitionImage, now: float) -> None:
        before = partition.role
        partition.update(image, self.broker_epoch_if_eligible, now)
        after = partition.role
        if before == after:
            return
        if isinstance(before, Follower):
            self.fetchers[before.leader_id].unfollow(partition.key)
        if isinstance(after, Follower):
            fetcher = self.fetchers.get(after.leader_id)
            if fetcher is None:
                fetcher = LeaderFetcher(after.leader_id, self.local_id)
                self.fetchers[after.leader_id] = fetcher
            fetcher.follow(partition)
        for role in (before, after):
            if isinstance(role, Follower):
                self._on_fetcher(self.fetchers[role.leader_id])

    def _remove(self, partition: Partition) -> None:
        if isinstance(partition.role, Follower):
            fetcher = self.fetchers[partition.role.leader_id]
            fetcher.unfollow(partition.key)
            self._on_fetcher(fetcher)
        partition.close()
        del self._by_key[partition.key]
        del self._by_ref[partition.key]
        del self._by_ref[partition.topic, partition.index]
        self.outbox.isr_changes.pop(partition, None)
        self.outbox.unsynced.pop(partition, None)
        self._host.delete(partition.log)

    def _reconfigure(self, image: MetadataImage, topics: Iterable[str] | None) -> None:
        """Let these topics' replicas obey what is set now, those of all where it concerns them all."""
        whose = self if topics is None else (each for topic in topics for each in self.of_topic(topic))
        for partition in whose:
            partition.log.config = self._settings.log_config(image, partition.topic)
            partition.configure(self._settings.replication_settings(image, partition.topic))

    # -- time and durability ----------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let every partition look at its deadlines."""
        for partition in self:
            partition.tick(now)

    def synced(self, ends: Mapping[Partition, int], now: float) -> list[LeaderFetcher]:
        """The logs in `ends` are synced up to these offsets; returns the fetchers that may go on."""
        for partition, end in ends.items():
            if self._by_key.get(partition.key) is partition:
                partition.synced(end, now)
        partitions = list(ends)
        return [fetcher for fetcher in self.fetchers.values() if fetcher.synced(partitions)]

    def led(self) -> Iterable[Partition]:
        """The partitions that this broker leads."""
        return [partition for partition in self if isinstance(partition.role, Leader)]
