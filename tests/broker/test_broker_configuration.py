"""What brokers make of a topic's keys and their own, those that change while they run among them, and how
often."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.log_cleaner import CleanerSettings
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.records import CLUSTER_DEFAULT, ConfigRecord, ConfigResourceType, Record, TopicRecord

TOPIC, BROKER = ConfigResourceType.TOPIC, ConfigResourceType.BROKER


def image_with(*configs: tuple[ConfigResourceType, str, str, str]) -> MetadataImage:
    records: list[Record] = [TopicRecord("t", UUID(int=7)), *(ConfigRecord(*each) for each in configs)]
    return EMPTY_IMAGE.apply(records, 0)


@pytest.mark.parametrize(
    ("config", "field", "expected"),
    [
        ((TOPIC, "t", "file.delete.delay.ms", "5"), "file_delete_delay_ms", 5),
        ((BROKER, "1", "log.segment.delete.delay.ms", "5"), "file_delete_delay_ms", 5),
        ((BROKER, CLUSTER_DEFAULT, "producer.id.expiration.ms", "5"), "producer_id_expiration_ms", 5),
        ((BROKER, "1", "producer.id.expiration.ms", "5"), "producer_id_expiration_ms", 5),
        ((BROKER, "2", "producer.id.expiration.ms", "5"), "producer_id_expiration_ms", 86_400_000),
    ],
)
def test_what_is_changed_while_a_broker_runs_counts(config: Any, field: str, expected: int) -> None:
    configuration = BrokerConfiguration(1, {})
    assert getattr(configuration.log_config(image_with(), "t"), field) != 5
    assert getattr(configuration.log_config(image_with(config), "t"), field) == expected


def test_topics_that_come_and_go_leave_nothing_behind() -> None:
    configuration = BrokerConfiguration(1, {})
    for number in range(2000):
        name = f"t{number}"
        own = ConfigRecord(TOPIC, name, "segment.ms", "500")
        configuration.log_config(EMPTY_IMAGE.apply([TopicRecord(name, UUID(int=number)), own], 0), name)
    assert len(configuration._topics) < 200


def test_topics_without_settings_of_their_own_share_what_was_worked_out() -> None:
    image = image_with((TOPIC, "special", "segment.ms", "500"))
    broker = BrokerConfiguration(1, {"log.roll.ms": "9000"})
    assert broker.log_config(image, "orders") is broker.log_config(image, "payments")
    assert broker.log_config(image, "orders").segment_ms == 9000
    assert broker.log_config(image, "special").segment_ms == 500
    assert broker.log_config(image, "orders").segment_ms == 9000


def test_a_default_of_the_cluster_that_changes_is_heard_by_all() -> None:
    broker = BrokerConfiguration(1, {"min.insync.replicas": "1"})
    assert broker.replication_settings(EMPTY_IMAGE, "orders").min_insync_replicas == 1
    image = image_with((BROKER, CLUSTER_DEFAULT, "min.insync.replicas", "2"))
    for topic in ("orders", "payments"):
        assert broker.replication_settings(image, topic).min_insync_replicas == 2


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("log.cleaner.backoff.ms", "5", {"backoff": 0.005}),
        ("log.cleaner.dedupe.buffer.size", "5", {"memory": 5}),
        ("log.cleaner.io.buffer.size", "5", {"chunk": 5}),
        ("log.cleaner.io.max.bytes.per.second", "5.5", {"bytes_per_second": 5.5}),
    ],
)
def test_the_cleaner_hears_what_is_changed_while_it_runs(name: str, text: str, changed: Any) -> None:
    configuration = BrokerConfiguration(1, {name: "9"})
    before = CleanerSettings.of(configuration, EMPTY_IMAGE)
    after = CleanerSettings.of(configuration, image_with((BROKER, CLUSTER_DEFAULT, name, text)))
    assert after == replace(before, **changed) != before
