"""A broker becomes what an image says: logs open before roles change, and what is gone goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from kafkawire.errors import ErrorCode
from metadata.image import MetadataImage, TopicImage, TopicsImage
from replication.follower import Follower, Offline
from replication.leader import Leader

Refused = Callable[..., ErrorCode]


def with_partition(image: MetadataImage, **changes: object) -> MetadataImage:
    """The image with its one partition of t changed."""
    topic = image.topics.by_name["t"]
    changed = replace(topic.partitions[0], partition_epoch=topic.partitions[0].partition_epoch + 1, **changes)
    new = TopicImage("t", topic.topic_id, (changed,))
    return replace(image, offset=image.offset + 1, topics=TopicsImage({"t": new}, {topic.topic_id: new}))


def test_each_replica_takes_its_role(bench: Any) -> None:
    assert isinstance(bench.partition(1).role, Leader)
    assert bench.partition(2).role == bench.partition(3).role == Follower(1, 0)
    assert list(bench.brokers[2].replicas.fetchers) == [1]


def test_a_log_is_open_before_its_role_begins(make_bench: Callable[..., Any]) -> None:
    """Whoever is told by a watcher, a fetcher or a reply that the partition is here finds its log open."""
    bench = make_bench()
    journal = bench.brokers[2].host.journal
    bench.brokers[2].replicas._on_fetcher = lambda fetcher: journal.append(f"follow {fetcher.leader_id}")
    bench.create((1, 2, 3))
    assert journal == ["open t-0", "follow 1"]
    assert bench.leader(1).start_offset == bench.partition(1).log.end_offset == 0


def test_brokers_without_a_replica_have_none(make_bench: Callable[..., Any], refused: Refused) -> None:
    bench = make_bench()
    bench.create((1, 2))
    elsewhere = bench.brokers[3].replicas
    assert len(elsewhere) == 0
    assert refused(elsewhere.find, "t", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refused(elsewhere.find, "t", 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert refused(elsewhere.find, "nowhere", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_what_changed_is_counted(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    bench.create((1, 2, 3), (2, 1, 3), hear=False)
    assert bench.brokers[1].replicas.apply(bench.image, bench.now) == {"lead": 1, "follow": 1}
    assert bench.brokers[1].replicas.apply(bench.image, bench.now) == {}
    bench.delete_topic()
    assert bench.brokers[1].replicas.apply(bench.image, bench.now) == {"gone": 2}


def test_only_the_topics_whose_configs_changed_are_configured_anew(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    for name in ("t", "u", "v"):
        bench.create((1, 2, 3), (1, 2, 3), name=name)
    settings = bench.brokers[1].replicas._settings
    asked, log_config = [], settings.log_config
    settings.log_config = lambda image, topic: (asked.append(topic), log_config(image, topic))[1]
    bench.configure("u", retention_ms=1000)
    bench.hear()
    assert asked == ["u", "u"], "a change of one topic would cost as much as the broker has partitions"
    for name, retention_ms in (("t", 604_800_000), ("u", 1000), ("v", 604_800_000)):
        assert bench.partition(1, 1, name).log.config.retention_ms == retention_ms


def test_a_deleted_topic_goes_and_who_waits_is_told(bench: Any, refused: Refused) -> None:
    bench.fetch(2, 1)
    waiter = bench.awaiting(1, bench.produce(1))
    bench.delete_topic()
    bench.hear()
    assert waiter.told == [ErrorCode.NOT_LEADER_OR_FOLLOWER]
    for number in (1, 2, 3):
        assert bench.brokers[number].host.journal == ["open t-0", "delete t-0"]
        assert list(bench.brokers[number].replicas) == []
    assert refused(bench.partition, 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert bench.fetch(2, 1).request.dropped != []
    assert bench.brokers[1].replicas.outbox.isr_changes == {}


def test_a_topic_that_is_created_anew_under_its_name_is_another(bench: Any) -> None:
    bench.produce(1, b"old")
    bench.fetch(2, 1, times=2)
    old = bench.partition(1).key
    bench.delete_topic()
    bench.create((2, 1, 3))
    assert bench.partition(1).key != old
    assert bench.brokers[1].replicas.by_key(old) is None
    for number in (1, 2, 3):
        assert bench.brokers[number].host.journal == ["open t-0", "delete t-0", "open t-0"]
        assert bench.partition(number).log.end_offset == 0
    bench.produce(2, b"new")
    bench.fetch(1, 2)
    assert bench.log_of(1) == [(0, 0)]


def test_an_answer_for_the_topic_before_does_not_reach_the_one_after(bench: Any) -> None:
    bench.fetch(3, 1)
    bench.produce(1, b"old")
    exchange = bench.ask(3, 1)
    bench.delete_topic()
    bench.create((1, 2, 3))
    bench.deliver(3, 1, exchange)
    assert bench.log_of(3) == []


def test_a_replica_that_moved_to_another_broker_goes(bench: Any) -> None:
    moved = with_partition(bench.image, replicas=(1, 2), isr=(1, 2))
    for number in (1, 2, 3):
        bench.brokers[number].replicas.apply(moved, bench.now)
    assert bench.brokers[3].host.journal == ["open t-0", "delete t-0"]
    assert bench.leader(1).replicas == (1, 2)
    assert list(bench.leader(1).followers) == [2]


def test_a_new_replica_keeps_what_is_known_of_the_others(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    bench.create((1, 2))
    bench.fetch(2, 1)
    progress = bench.leader(1).followers[2]
    wider = with_partition(bench.image, replicas=(1, 2, 3))
    for number in (1, 2, 3):
        bench.brokers[number].replicas.apply(wider, bench.now)
    assert bench.leader(1).followers[2] is progress
    bench.fetch(3, 1)
    assert bench.leader(1).followers[3].end_offset == 0


def test_a_partition_without_a_leader_waits(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    bench.create((1, 2))
    bench.fetch(2, 1)
    bench.fence(1, 2)
    bench.hear()
    assert bench.partition(2).role == Offline(bench.state().leader_epoch)
    assert bench.brokers[2].replicas.fetchers[1].partitions == {}


def test_changed_settings_reach_the_log_and_the_replica(bench: Any) -> None:
    bench.configure(retention_ms=1234, min_insync_replicas=3)
    bench.hear()
    for number in (1, 2, 3):
        assert bench.partition(number).log.config.retention_ms == 1234
        assert bench.partition(number).settings.min_insync_replicas == 3


def test_another_topics_settings_change_nothing(bench: Any) -> None:
    bench.create((1, 2), name="u")
    settings = bench.partition(1).settings
    bench.configure(name="u", retention_ms=1234)
    bench.hear()
    assert bench.partition(1).log.config.retention_ms == 604_800_000
    assert bench.partition(1, name="u").log.config.retention_ms == 1234
    assert bench.partition(1).settings == settings


def test_lowering_min_insync_replicas_releases_what_waited(make_bench: Callable[..., Any]) -> None:
    """What the setting alone held back is committed once it is lowered; nothing more has to happen."""
    bench = make_bench()
    bench.create((1, 2), min_insync_replicas=2)
    bench.fetch(2, 1)
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fence(2)
    bench.hear()
    assert waiter.told == []
    bench.configure(min_insync_replicas=1)
    bench.hear()
    bench.partition(1).tick(bench.now)
    assert waiter.told == [ErrorCode.NONE]


def test_several_images_at_once_are_as_good_as_one_by_one(bench: Any) -> None:
    bench.fence(1)
    bench.unfence(1)
    bench.create((3, 1), name="u", hear=False)
    bench.elect_preferred()
    bench.brokers[1].replicas.apply(bench.image, bench.now)
    assert bench.partition(1).role == Follower(2, 1)
    assert bench.partition(1, name="u").role == Follower(3, 0)
    assert sorted(bench.brokers[1].replicas.fetchers) == [2, 3]


def test_following_another_leader_leaves_the_first(bench: Any) -> None:
    bench.fetch(3, 1)
    bench.fence(1)
    bench.hear()
    fetchers = bench.brokers[3].replicas.fetchers
    assert (list(fetchers[1].partitions), len(fetchers[2].partitions)) == ([], 1)
    assert [fetcher.leader_id for fetcher in bench.brokers[3].fetchers_told[-2:]] == [1, 2]


def test_led_are_those_that_this_broker_leads(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    bench.create((1, 2), (2, 1))
    assert [partition.index for partition in bench.brokers[1].replicas.led()] == [0]
