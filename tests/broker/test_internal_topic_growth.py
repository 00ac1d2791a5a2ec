"""What is added to internal topics that were created by fewer brokers than they want replicas."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from kraft.broker.internal_topic_growth import next_step
from kraft.broker.internal_topics import Wanted
from metadata.controller.config_commands import IncrementalAlterConfigs
from metadata.controller.partition_commands import AlterPartitionReassignments, Reassignment
from metadata.image import MetadataImage, TopicImage
from metadata.records import (
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    ConfigResourceType,
    NodeEndpoint,
    PartitionChangeRecord,
    PartitionRecord,
    Record,
    RegisterBrokerRecord,
    TopicRecord,
)

TOPIC = "__transaction_state"
TOPIC_ID = UUID(int=3)
WANTED = Wanted(replicas=3, min_isr=2)


def cluster(
    racks: dict[int, str | None], replicas: list[tuple[int, ...]], *, min_isr: int | None = None
) -> tuple[MetadataImage, TopicImage]:
    """Active brokers in these racks, and the topic with these replicas, all in sync."""
    records: list[Record] = []
    for broker_id, rack in racks.items():
        place, incarnation = NodeEndpoint("h", 1), UUID(int=broker_id)
        records.append(
            RegisterBrokerRecord(broker_id, incarnation, len(records), (), place, rack, fenced=False)
        )
    records.append(TopicRecord(TOPIC, TOPIC_ID))
    records += [
        PartitionRecord(number, TOPIC_ID, each, each, each[0], 0, 0) for number, each in enumerate(replicas)
    ]
    if min_isr is not None:
        records.append(ConfigRecord(ConfigResourceType.TOPIC, TOPIC, "min.insync.replicas", str(min_isr)))
    image = MetadataImage().apply(records, 0)
    topic = image.topics.get(TOPIC)
    assert topic is not None
    return image, topic


def added(image: MetadataImage, topic: TopicImage) -> list[tuple[int, ...] | None]:
    step = next_step(image, topic, WANTED)
    return (
        [each.replicas for each in step.partitions] if isinstance(step, AlterPartitionReassignments) else []
    )


@given(
    st.dictionaries(st.integers(0, 9), st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=6),
    st.data(),
)
def test_replicas_are_added_evenly_and_none_is_taken_away(
    racks: dict[int, str | None], data: st.DataObject
) -> None:
    ids = st.sampled_from(sorted(racks))
    replicas = data.draw(
        st.lists(st.lists(ids, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=12)
    )
    image, topic = cluster(racks, replicas)
    step = next_step(image, topic, WANTED)
    lacking = [number for number, each in enumerate(replicas) if len(each) < min(3, len(racks))]
    if not lacking:
        assert step is None
        return
    assert isinstance(step, AlterPartitionReassignments)
    assert [each.partition for each in step.partitions] == lacking
    for each in step.partitions:
        assert each.replicas is not None
        before = replicas[each.partition]
        assert each.replicas[: len(before)] == before
        assert len(set(each.replicas)) == len(each.replicas) == min(3, len(racks))
        assert set(each.replicas) <= racks.keys()


def test_what_is_added_falls_evenly_on_the_brokers_that_came() -> None:
    image, topic = cluster(dict.fromkeys(range(1, 6)), [(1,)] * 50)
    held = Counter(replica for replicas in added(image, topic) for replica in replicas or ())
    assert held == {1: 50, 2: 25, 3: 25, 4: 25, 5: 25}


def test_other_racks_come_first() -> None:
    image, topic = cluster({1: "a", 2: "a", 3: "b", 4: "b"}, [(1,), (3,)])
    first, second = added(image, topic)
    assert first is not None
    assert second is not None
    assert first[1] in (3, 4)
    assert second[1] in (1, 2)


def test_what_is_being_moved_and_who_is_fenced_are_left_alone() -> None:
    image, _ = cluster({1: None, 2: None}, [(1,), (1,)])
    image = image.apply(
        [
            BrokerRegistrationChangeRecord(2, image.brokers[2].epoch, fenced=True),
            RegisterBrokerRecord(3, UUID(int=3), 7, (), NodeEndpoint("h", 1), fenced=False),
            PartitionChangeRecord(0, TOPIC_ID, replicas=(1, 3), adding_replicas=(3,)),
        ],
        image.next_offset,
    )
    step = next_step(image, image.topics.by_name[TOPIC], WANTED)
    assert step == AlterPartitionReassignments((Reassignment(TOPIC, 1, (1, 3)),))


def test_min_insync_replicas_follow_when_all_replicas_are_in_sync() -> None:
    three = {1: None, 2: None, 3: None}
    image, topic = cluster(three, [(1, 2, 3), (2, 3, 1)], min_isr=1)
    step = next_step(image, topic, WANTED)
    assert isinstance(step, IncrementalAlterConfigs)
    assert step.resources[0].ops == (("min.insync.replicas", 0, "2"),)
    behind = image.apply([PartitionChangeRecord(1, TOPIC_ID, isr=(2, 3))], image.next_offset)
    assert next_step(behind, behind.topics.by_name[TOPIC], WANTED) is None
    assert next_step(image, topic, Wanted(3, None)) is None
    for image, topic in (cluster(three, [(1, 2, 3)], min_isr=2), cluster(three, [(1, 2, 3)])):
        assert next_step(image, topic, WANTED) is None


def test_min_insync_replicas_are_as_many_as_if_the_topic_were_created_now() -> None:
    image, topic = cluster({1: None, 2: None}, [(1, 2), (2, 1)], min_isr=1)
    step = next_step(image, topic, Wanted(replicas=3, min_isr=3))
    assert isinstance(step, IncrementalAlterConfigs)
    assert step.resources[0].ops == (("min.insync.replicas", 0, "2"),)
    image, topic = cluster({1: None}, [(1,), (1,)], min_isr=1)
    assert next_step(image, topic, WANTED) is None
