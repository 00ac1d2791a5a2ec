"""confluent-kafka's AdminClient: what only administrators ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import ElectionType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

TIMEOUT = 20.0

pytestmark = pytest.mark.xdist_group("interop")


@pytest.fixture
def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def done(futures: dict[Any, Any]) -> Any:
    (future,) = futures.values()
    return future.result(TIMEOUT)


def failure(action: Callable[[], Any]) -> str:
    with pytest.raises(KafkaException) as caught:
        action()
    name: str = caught.value.args[0].name()
    return name


def test_records_are_deleted(admin: AdminClient, bootstrap: str, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(1)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(5):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(TIMEOUT) == 0
    assert done(admin.delete_records([TopicPartition(topic, 0, 3)])).low_watermark == 3
    assert done(admin.delete_records([TopicPartition(topic, 0, -1)])).low_watermark == 5
    beyond = [TopicPartition(topic, 0, 9)]
    assert failure(lambda: done(admin.delete_records(beyond))) == "OFFSET_OUT_OF_RANGE"


def test_configs_are_replaced(admin: AdminClient, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(1)
    with pytest.deprecated_call():
        done(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, {"retention.ms": "5000"})]))
    configs = done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
    assert configs["retention.ms"].value == "5000"


def test_leaders_are_elected(admin: AdminClient, make_topic: Callable[[int], str]) -> None:
    partition = TopicPartition(make_topic(1), 0)
    results = admin.elect_leaders(ElectionType.PREFERRED, [partition]).result(TIMEOUT)
    assert results[partition].name() == "ELECTION_NOT_NEEDED"


def test_credentials_are_kept(admin: AdminClient) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 5000)
    done(admin.alter_user_scram_credentials([UserScramCredentialUpsertion("confluent", info, b"secret")]))
    (found,) = done(admin.describe_user_scram_credentials(["confluent"])).scram_credential_infos
    assert (found.mechanism, found.iterations) == (ScramMechanism.SCRAM_SHA_512, 5000)
    deletion = UserScramCredentialDeletion("confluent", ScramMechanism.SCRAM_SHA_512)
    done(admin.alter_user_scram_credentials([deletion]))
    described = failure(lambda: done(admin.describe_user_scram_credentials(["confluent"])))
    assert described == "RESOURCE_NOT_FOUND"


def test_there_are_no_acls(admin: AdminClient) -> None:
    literal, read, allow = ResourcePatternType.LITERAL, AclOperation.READ, AclPermissionType.ALLOW
    acl = AclBinding(ResourceType.TOPIC, "t", literal, "User:a", "*", read, allow)
    assert failure(lambda: done(admin.create_acls([acl]))) == "SECURITY_DISABLED"
