"""kafka-python, where `interop` does not go."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

TIMEOUT = 20

pytestmark = [
    pytest.mark.xdist_group("interop"),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]


@pytest.fixture
def kafka() -> Iterator[Any]:
    """Imported here, where the warnings of its import and of sockets that it leaves open are no errors."""
    yield importlib.import_module("kafka")
    gc.collect()


def test_what_only_administrators_ask(kafka: Any, bootstrap: str, make_topic: Callable[[int], str]) -> None:
    partition = kafka.TopicPartition(make_topic(1), 0)
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(4):
        producer.send(partition.topic, b"%d" % number, partition=0).get(TIMEOUT)
    producer.close()
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    assert admin.delete_records({partition: 3})[partition]["low_watermark"] == 3
    admin.alter_partition_reassignments({partition: [1]})
    assert not admin.list_partition_reassignments()
    refused = admin.alter_partition_reassignments({partition: [1, 7]})
    assert refused == {partition: kafka.errors.InvalidReplicationAssignmentError}
    assert partition.topic in str(admin.list_config_resources())
    found = admin.list_transactions(transactional_id_pattern="no-such-id-.*")
    assert "no-such-id" not in str(found)
    admin.close()
