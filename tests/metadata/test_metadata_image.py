"""Images: what records do to them, what they share, and what two of them ask of a broker."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec.structs import replace

from metadata.delta import LocalReplica, MetadataDelta, assigned_replicas, local_changes
from metadata.image import EMPTY_IMAGE, BrokerState, ConfigResource, MetadataImage
from metadata.invariants import image_violations, step_violations
from metadata.loader import MetadataLoader
from metadata.log import CommittedBatch
from metadata.records import (
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    ConfigResourceType,
    Endpoint,
    FeatureLevelRecord,
    LeaderRecoveryState,
    NodeEndpoint,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    Record,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnregisterBrokerRecord,
)
from metadata.serde import MalformedError, UnknownRecordError, encode_record
from metadata.snapshot import decode_snapshot, encode_snapshot
from tests.counted_calls import calls_of

T, U, V = UUID(int=1), UUID(int=2), UUID(int=3)


def broker(broker_id: int, epoch: int, fenced: bool = False) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id,
        UUID(int=100 + epoch),
        epoch,
        (Endpoint("PLAINTEXT", f"h{broker_id}", 9092),),
        NodeEndpoint(f"h{broker_id}", 9093),
        fenced=fenced,
    )


def partition(
    number: int, topic: UUID = T, replicas: tuple[int, ...] = (1, 2), leader: int = 1
) -> PartitionRecord:
    return PartitionRecord(number, topic, replicas, replicas, leader, 0, 0)


BASE: list[Record] = [
    broker(1, 0),
    broker(2, 1),
    broker(3, 2, fenced=True),
    TopicRecord("t", T),
    partition(0),
    partition(1, replicas=(2, 3), leader=2),
    TopicRecord("u", U),
    partition(0, U),
    ConfigRecord(ConfigResourceType.TOPIC, "t", "retention.ms", "5"),
    ConfigRecord(ConfigResourceType.BROKER, "", "log.retention.ms", "7"),
    ConfigRecord(ConfigResourceType.BROKER, "2", "log.retention.ms", "8"),
    FeatureLevelRecord("metadata.version", 3),
    ProducerIdsRecord(1, 0, 1000),
]


@pytest.fixture
def base() -> MetadataImage:
    return EMPTY_IMAGE.apply(BASE, 0)


def after(image: MetadataImage, *records: Record) -> MetadataImage:
    return image.apply(records, image.next_offset)


def test_clients_are_told_of_somebody_even_if_every_broker_is_fenced(base):
    assert [each.broker_id for each in base.brokers_for_clients()] == [1, 2]
    fenced = after(
        base,
        *(BrokerRegistrationChangeRecord(each, base.brokers[each].epoch, fenced=True) for each in (1, 2)),
    )
    assert fenced.active_brokers() == []
    assert [each.broker_id for each in fenced.brokers_for_clients()] == [1, 2, 3]


def test_records_build_an_image(base):
    assert base.offset == len(BASE) - 1
    assert [base.brokers[each].state for each in (1, 2, 3)] == [
        BrokerState.ACTIVE,
        BrokerState.ACTIVE,
        BrokerState.FENCED,
    ]
    assert [each.broker_id for each in base.active_brokers()] == [1, 2]
    assert (base.is_active(1), base.is_active(3), base.is_active(9)) == (True, False, False)
    assert base.topics.by_name["t"] is base.topics.by_id[T]
    assert base.topics.partition("t", 1) == base.topics.by_id[T].partitions[1]
    assert [base.topics.partition(*each) for each in (("t", 2), ("t", -1), ("x", 0))] == [None] * 3
    assert (len(base.topics), "t" in base.topics, "x" in base.topics) == (2, True, False)
    assert base.configs.topic("t") == {"retention.ms": "5"}
    assert base.configs.topic("u") == {}
    assert base.configs.cluster_defaults == {"log.retention.ms": "7"}
    assert base.configs.broker(2) == {"log.retention.ms": "8"}
    assert base.features == {"metadata.version": 3}
    assert base.next_producer_id == 1000


def test_a_change_touches_what_it_names_and_shares_the_rest(base):
    new = after(base, PartitionChangeRecord(0, T, isr=(1,)))
    assert new.topics.by_name["t"].partitions[0].isr == (1,)
    assert base.topics.by_name["t"].partitions[0].isr == (1, 2), "the old image stays as it was"
    assert new.topics.by_name["t"].partitions[1] is base.topics.by_name["t"].partitions[1]
    assert new.topics.by_name["u"] is base.topics.by_name["u"]
    assert new.brokers is base.brokers
    assert new.configs is base.configs
    assert new.features is base.features
    assert after(base, NoOpRecord()).topics is base.topics
    assert base.apply([], base.next_offset) is base


@pytest.mark.parametrize(
    ("change", "leader_epoch"),
    [({"isr": (1,)}, 0), ({"leader": 2}, 1), ({"leader": 1}, 1), ({"leader": -1}, 1)],
)
def test_epochs_of_a_change(base, change, leader_epoch):
    changed = after(base, PartitionChangeRecord(0, T, **change)).topics.partition("t", 0)
    assert changed is not None
    assert (changed.leader_epoch, changed.partition_epoch) == (leader_epoch, 1)


def test_every_field_of_a_change_is_applied(base):
    change = PartitionChangeRecord(
        0,
        T,
        isr=(2,),
        leader=2,
        replicas=(2, 1, 3),
        removing_replicas=(1,),
        adding_replicas=(3,),
        leader_recovery_state=LeaderRecoveryState.RECOVERING,
        eligible_leader_replicas=(1,),
        last_known_elr=(3,),
    )
    new = after(base, change).topics.by_name["t"].partitions[0]
    assert (new.isr, new.leader, new.replicas) == ((2,), 2, (2, 1, 3))
    assert (new.removing, new.adding, new.elr, new.last_known_elr) == ((1,), (3,), (1,), (3,))
    assert new.recovering


def test_brokers_change_state_and_leave(base):
    leaving = after(base, BrokerRegistrationChangeRecord(1, 0, in_controlled_shutdown=True))
    assert leaving.brokers[1].in_controlled_shutdown
    fenced = after(leaving, BrokerRegistrationChangeRecord(1, 0, fenced=True))
    assert fenced.brokers[1].fenced
    back = after(fenced, BrokerRegistrationChangeRecord(1, 0, fenced=False))
    assert back.brokers[1].active
    assert 1 not in after(back, UnregisterBrokerRecord(1, 0)).brokers


def test_values_are_removed(base):
    new = after(
        base,
        ConfigRecord(ConfigResourceType.TOPIC, "t", "retention.ms", None),
        ConfigRecord(ConfigResourceType.TOPIC, "t", "never.set", None),
        FeatureLevelRecord("metadata.version", 0),
        RemoveTopicRecord(U),
    )
    assert ConfigResource(ConfigResourceType.TOPIC, "t") not in new.configs.by_resource
    assert new.features == {}
    assert list(new.topics.by_name) == ["t"]
    assert list(new.topics.by_id) == [T]


@pytest.mark.parametrize(
    "record",
    [
        TopicRecord("t", V),
        TopicRecord("v", T),
        partition(5),
        partition(1),
        partition(0, V),
        PartitionChangeRecord(2, T),
        PartitionChangeRecord(0, V),
        PartitionChangeRecord(-1, T),
        RemoveTopicRecord(V),
        UnregisterBrokerRecord(9, 0),
        UnregisterBrokerRecord(1, 5),
        BrokerRegistrationChangeRecord(1, 5, fenced=True),
    ],
    ids=repr,
)
def test_a_record_that_contradicts_the_image_is_refused(base, record):
    with pytest.raises(ValueError):
        after(base, record)


@pytest.mark.parametrize("offset", [0, len(BASE) - 1, len(BASE) + 1])
def test_a_batch_must_follow(base, offset):
    with pytest.raises(ValueError, match="offset"):
        base.apply([NoOpRecord()], offset)


def test_a_snapshot_is_the_image(base):
    rich = after(
        base,
        PartitionChangeRecord(0, T, isr=(), leader=-1, eligible_leader_replicas=(1, 2), last_known_elr=(1,)),
        BrokerRegistrationChangeRecord(2, 1, in_controlled_shutdown=True),
        broker(3, 99, fenced=True),
    )
    for image in (EMPTY_IMAGE, base, rich, replace(EMPTY_IMAGE, offset=7)):
        assert decode_snapshot(encode_snapshot(image)) == image


# Deltas


def test_what_a_delta_asks_of_a_broker(base):
    first = local_changes(EMPTY_IMAGE, base, 2)
    assert [(each.topic, each.partition) for each in first.lead] == [("t", 1)]
    assert [(each.topic, each.partition) for each in first.follow] == [("t", 0), ("u", 0)]
    assert first.broker_configs
    assert first.topic_configs == (), "a new topic is opened with its configs"
    assert not local_changes(base, base, 2)

    new = after(
        base,
        PartitionChangeRecord(0, T, leader=2),
        PartitionChangeRecord(1, T, replicas=(3, 1)),
        RemoveTopicRecord(U),
        TopicRecord("u", V),
        partition(0, V),
        ConfigRecord(ConfigResourceType.TOPIC, "t", "retention.ms", "6"),
    )
    changes = local_changes(base, new, 2)
    assert changes.delete == (LocalReplica("u", U, 0),)
    assert changes.stop == ()
    assert [(each.topic, each.partition) for each in changes.lead] == [("t", 0), ("t", 1)]
    assert [(each.topic_id, each.partition) for each in changes.follow] == [(V, 0)]
    assert changes.topic_configs == ("t",)
    assert not changes.broker_configs


def test_replicas_that_moved_away_are_stopped(base):
    new = after(base, PartitionChangeRecord(1, T, replicas=(3, 1), leader=3))
    assert local_changes(base, new, 2).stop == (LocalReplica("t", T, 1),)
    assert [each.partition for each in local_changes(base, new, 1).follow] == [1]


def test_a_leaderless_partition_is_followed(base):
    new = after(base, PartitionChangeRecord(0, T, isr=(), leader=-1))
    (change,) = local_changes(base, new, 1).follow
    assert change.new.leader == -1
    assert change.leader_epoch_changed


def test_configs_of_topics_and_brokers_that_are_not_here_do_not_matter(base):
    elsewhere = after(
        base,
        ConfigRecord(ConfigResourceType.TOPIC, "t", "retention.ms", "6"),
        ConfigRecord(ConfigResourceType.BROKER, "2", "log.retention.ms", "9"),
    )
    assert not local_changes(base, elsewhere, 9)
    assert local_changes(base, elsewhere, 2).broker_configs
    cluster = after(base, ConfigRecord(ConfigResourceType.BROKER, "", "log.retention.ms", "9"))
    assert local_changes(base, cluster, 9).broker_configs


def test_a_delta_of_many_topics_works_out_no_hash_of_those_that_stayed(base):
    topics = [UUID(int=number) for number in range(1000, 1300)]
    records: list[Record] = []
    for number, topic_id in enumerate(topics):
        records += [TopicRecord(f"many-{number}", topic_id), partition(0, topic_id)]
    old = base.apply(records, base.next_offset)
    changes = [PartitionChangeRecord(0, topics[7], isr=(1,)), RemoveTopicRecord(topics[8])]
    new = old.apply([*changes, TopicRecord("many-8", V)], old.next_offset)
    delta = MetadataDelta(old, new)
    calls = calls_of(lambda: (delta.deleted_topics, delta.created_topics, delta.partitions))
    gone, come, changed = delta.deleted_topics, delta.created_topics, delta.partitions
    assert [each.topic_id for each in gone] == [topics[8]]
    assert [(each.name, each.topic_id) for each in come] == [("many-8", V)]
    assert [each.topic for each in changed] == ["many-7"]
    assert calls < 100


def test_the_whole_of_a_delta(base):
    new = after(
        base,
        UnregisterBrokerRecord(3, 2),
        broker(4, 13),
        PartitionChangeRecord(0, T, isr=(1,)),
        RemoveTopicRecord(U),
        TopicRecord("v", V),
        partition(0, V),
    )
    delta = MetadataDelta(base, new)
    assert list(delta.brokers) == [3, 4]
    assert delta.brokers[3] == (base.brokers[3], None)
    assert [topic.name for topic in delta.created_topics] == ["v"]
    assert [topic.name for topic in delta.deleted_topics] == ["u"]
    assert [(each.topic, each.partition, each.old is None) for each in delta.partitions] == [
        ("t", 0, False),
        ("v", 0, True),
    ]
    assert not delta.partitions[0].leader_epoch_changed
    assert MetadataDelta(base, base).partitions == ()


def test_a_snapshot_that_says_the_same_asks_for_nothing(base):
    copy = decode_snapshot(encode_snapshot(base))
    assert copy.topics is not base.topics
    assert not local_changes(base, copy, 1)
    assert MetadataDelta(base, copy).brokers == {}


def test_replicas_that_belong_on_a_broker(base):
    assert assigned_replicas(base, 2) == (
        LocalReplica("t", T, 0),
        LocalReplica("t", T, 1),
        LocalReplica("u", U, 0),
    )
    assert assigned_replicas(base, 9) == ()


# The loader


class Recorder:
    def __init__(self, seen: list[tuple[str, int, int]], name: str) -> None:
        self.seen, self.name = seen, name

    def on_metadata(self, delta: MetadataDelta) -> None:
        self.seen.append((self.name, delta.old.offset, delta.new.offset))


def batch(first: int, *records: Record) -> CommittedBatch:
    return CommittedBatch(first, 1, [encode_record(record) for record in records])


def test_the_loader_publishes_in_order(base):
    seen: list[tuple[str, int, int]] = []
    loader = MetadataLoader([Recorder(seen, "first"), Recorder(seen, "second")])
    loader.on_committed(batch(0, *BASE[:3]))
    loader.on_batches([batch(3, *BASE[3:5]), batch(5, *BASE[5:])])
    loader.on_committed(batch(len(BASE)))
    assert loader.image == base
    assert seen == [("first", -1, 2), ("second", -1, 2), ("first", 2, 12), ("second", 2, 12)]
    loader.add_publisher(Recorder(seen, "late"))
    assert seen[-1] == ("late", -1, 12)


def test_the_loader_starts_over_from_a_snapshot(base):
    seen: list[tuple[str, int, int]] = []
    source, loader = MetadataLoader(), MetadataLoader()
    loader.add_publisher(Recorder(seen, "one"))
    source.on_committed(batch(0, *BASE))
    loader.on_committed(batch(0, NoOpRecord()))
    loader.on_snapshot(source.take_snapshot(), len(BASE))
    assert loader.image == base
    assert seen == [("one", -1, 0), ("one", 0, 12)]
    with pytest.raises(MalformedError):
        loader.on_snapshot(source.take_snapshot(), 4)


def test_the_loader_does_not_swallow_what_it_cannot_apply(base):
    loader = MetadataLoader()
    with pytest.raises(ValueError, match="offset"):
        loader.on_committed(batch(1, NoOpRecord()))
    with pytest.raises(UnknownRecordError):
        loader.on_committed(CommittedBatch(0, 1, [b"\x83\x18\x63\x00\xa0"]))
    with pytest.raises(ValueError, match="no topic"):
        loader.on_batches([batch(0, NoOpRecord()), batch(1, RemoveTopicRecord(T))])
    assert loader.image is EMPTY_IMAGE


# The invariants notice what they are for


def broken(base: MetadataImage, **changes: object) -> list[str]:
    record = replace(partition(0, V), **changes)  # type: ignore[arg-type]
    return image_violations(after(base, TopicRecord("v", V), record))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"replicas": (), "isr": (), "leader": -1}, "the replicas are none"),
        ({"replicas": (1, 1)}, "not distinct"),
        ({"isr": (1, 1)}, "twice"),
        ({"isr": (1, 4)}, "no replica"),
        ({"eligible_leader_replicas": (2,)}, "both in sync and eligible"),
        ({"replicas": (1, 3), "isr": (1, 3)}, "fenced"),
        ({"isr": (2,)}, "leader is not in the ISR"),
        ({"leader": -1}, "nobody leads"),
        ({"leader_recovery_state": LeaderRecoveryState.RECOVERING}, "not recovered"),
    ],
)
def test_a_broken_image_is_noticed(base, changes, problem):
    sound = after(base, RemoveTopicRecord(T))
    assert image_violations(sound) == []
    assert any(problem in each for each in broken(sound, **changes))


def test_broken_steps_are_noticed(base):
    topic = base.topics.by_name["t"]

    def with_partition(**changes: object) -> MetadataImage:
        changed = replace(topic, partitions=(replace(topic.partitions[0], **changes), topic.partitions[1]))  # type: ignore[arg-type]
        topics = replace(
            base.topics,
            by_name={**base.topics.by_name, "t": changed},
            by_id={**base.topics.by_id, T: changed},
        )
        return replace(base, topics=topics)

    shrunk = replace(topic, partitions=topic.partitions[:1])
    topics = replace(base.topics, by_name={"t": shrunk}, by_id={T: shrunk})
    for new, problem in (
        (replace(base, next_producer_id=0), "producer ids"),
        (replace(base, brokers={**base.brokers, 1: replace(base.brokers[1], epoch=-1)}), "broker 1"),
        (replace(base, brokers={**base.brokers, 1: replace(base.brokers[1], incarnation=T)}), "broker 1"),
        (replace(base, topics=topics), "shrank"),
        (with_partition(isr=(1,)), "partition epoch"),
        (with_partition(leader_epoch=-1, partition_epoch=1), "leader epoch went back"),
        (with_partition(leader=2, partition_epoch=1), "did not raise the leader epoch"),
    ):
        assert any(problem in each for each in step_violations(base, new)), problem
    assert step_violations(base, after(base, PartitionChangeRecord(0, T, leader=2))) == []
