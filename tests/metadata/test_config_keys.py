"""The table of configuration keys: parsing, limits, layers, documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from metadata.config_docs import render
from metadata.config_keys import (
    BROKER_KEYS,
    NODE_KEY_GROUPS,
    TOPIC_KEY_GROUPS,
    TOPIC_KEYS,
    ConfigKey,
    ConfigLayers,
    ConfigSource,
    ConfigType,
    ConfigValue,
    Scope,
    Update,
    broker_key,
    format_value,
    parse_value,
    resolve,
    resolve_broker,
    resolve_topic,
    topic_config,
    topic_key,
    validate_topic_config,
    validate_topic_configs,
    value_of,
)
from metadata.config_types import invalid_value
from metadata.controller.decision import ControllerConfig

ALL_KEYS = [*TOPIC_KEYS.values(), *BROKER_KEYS.values()]


@pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: key.name)
def test_a_default_is_a_valid_value_and_survives_its_text(key):
    text = format_value(key.default)
    if text is not None:
        assert parse_value(key, text) == key.default
    assert key.doc.endswith((".", "…"))


def test_no_key_stands_twice():
    assert len(TOPIC_KEYS) == sum(len(keys) for _, keys in TOPIC_KEY_GROUPS)
    assert len(BROKER_KEYS) == sum(len(keys) for _, keys in NODE_KEY_GROUPS)


def test_scopes_and_updates_fit():
    assert all(key.scope is Scope.TOPIC and key.update is Update.PER_TOPIC for key in TOPIC_KEYS.values())
    assert not any(Scope.TOPIC in key.scope or key.update is Update.PER_TOPIC for key in BROKER_KEYS.values())
    assert [key.name for key in ALL_KEYS if key.sensitive] == ["cluster.secret"]


def test_every_synonym_is_a_key_with_the_same_default():
    for key in TOPIC_KEYS.values():
        values = [
            BROKER_KEYS[name].default * factor if factor > 1 else BROKER_KEYS[name].default  # type: ignore[operator]
            for name, factor in key.synonyms
            if BROKER_KEYS[name].default is not None
        ]
        assert set(values) <= {key.default}
        assert values or not key.synonyms


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("segment.bytes", 1_073_741_824),
        ("retention.ms", 604_800_000),
        ("retention.bytes", -1),
        ("min.insync.replicas", 1),
        ("max.message.bytes", 1_048_588),
        ("cleanup.policy", ("delete",)),
        ("unclean.leader.election.enable", False),
        ("message.timestamp.type", "CreateTime"),
        ("flush.messages", 2**63 - 1),
    ],
)
def test_defaults_of_topics_are_kafkas(name, default):
    assert TOPIC_KEYS[name].default == default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("preallocate", "TRUE", True),
        ("preallocate", " false ", False),
        ("retention.ms", "-1", -1),
        ("retention.ms", "+5", 5),
        ("min.cleanable.dirty.ratio", "0.25", 0.25),
        ("min.cleanable.dirty.ratio", "1e-1", 0.1),
        ("cleanup.policy", "compact, delete", ("compact", "delete")),
        ("cleanup.policy", "", ()),
        ("leader.replication.throttled.replicas", "", ()),
        ("leader.replication.throttled.replicas", "*", ("*",)),
        ("leader.replication.throttled.replicas", "0:1,1:2", ("0:1", "1:2")),
        ("compression.type", "zstd", "zstd"),
        ("segment.bytes", "1048576", 1_048_576),
        ("segment.bytes", "2147483647", 2_147_483_647),
    ],
)
def test_values_are_parsed(name, text, value):
    parsed = validate_topic_config(name, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("preallocate", "yes", "true or false"),
        ("retention.ms", "", "Not a number of type LONG"),
        ("retention.ms", "1.5", "Not a number of type LONG"),
        ("retention.ms", "0x10", "Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("retention.ms", "٣", "Not a number of type LONG"),
        ("retention.ms", "9" * 5000, "Not a number of type LONG"),
        ("retention.ms", str(2**63), "Not a number of type LONG"),
        ("retention.ms", "-2", "at least -1"),
        ("segment.bytes", str(2**31), "Not a number of type INT"),
        ("segment.bytes", "1048575", "at least 1048576"),
        ("min.cleanable.dirty.ratio", "nan", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "inf", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "1.01", "no more than 1"),
        ("cleanup.policy", "shred", "compact, delete"),
        ("cleanup.policy", "delete,delete", "duplicate"),
        ("compression.type", "rar", "zstd"),
        ("leader.replication.throttled.replicas", "1", "partitionId"),
        ("leader.replication.throttled.replicas", "1:2,*", "partitionId"),
        ("no.such.key", "1", "Unknown topic config name: no.such.key"),
    ],
)
def test_bad_values_are_refused_by_name(name, text, problem):
    with pytest.raises(KafkaError) as caught:
        validate_topic_config(name, text)
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    assert name in caught.value.message
    assert problem in caught.value.message


def parsed_or_error(key: ConfigKey, text: str) -> ConfigValue | KafkaError:
    try:
        return parse_value(key, text)
    except KafkaError as error:
        return error


@given(st.sampled_from(ALL_KEYS), st.text(max_size=30) | st.from_regex(r"-?[0-9]{1,9}", fullmatch=True))
def test_any_text_is_a_value_or_an_error(key, text):
    result = parsed_or_error(key, text)
    if isinstance(result, KafkaError):
        assert result.code is ErrorCode.INVALID_CONFIG
        assert key.name in result.message
    else:
        assert parse_value(key, format_value(result) or "") == result


def test_a_secret_does_not_stand_in_an_error():
    key = BROKER_KEYS["cluster.secret"]
    assert key.type is ConfigType.PASSWORD
    assert "hunter2" not in invalid_value(key, "hunter2", "too short").message


def test_keys_are_found_by_name_or_refused():
    assert topic_key("flush.ms").name == "flush.ms"
    assert broker_key("node.id").read_only
    with pytest.raises(KafkaError, match="Unknown broker config name: x"):
        broker_key("x")


def test_the_strongest_layer_wins_and_all_are_told():
    layers = ConfigLayers(
        topic={"retention.ms": "1"},
        broker={"log.retention.ms": "2"},
        cluster={"log.retention.ms": "3"},
        static={"log.retention.ms": "4", "log.retention.hours": "5"},
    )
    resolved = resolve(TOPIC_KEYS["retention.ms"], layers)
    assert (resolved.name, resolved.value, resolved.text) == ("retention.ms", 1, "1")
    assert resolved.source is ConfigSource.DYNAMIC_TOPIC_CONFIG
    assert [(each.name, each.text, int(each.source)) for each in resolved.synonyms] == [
        ("retention.ms", "1", 1),
        ("log.retention.ms", "2", 2),
        ("log.retention.ms", "3", 3),
        ("log.retention.ms", "4", 4),
        ("log.retention.hours", "5", 4),
        ("log.retention.hours", "168", 5),
    ]


@pytest.mark.parametrize(
    ("layers", "value", "source"),
    [
        (ConfigLayers(broker={"log.retention.ms": "2"}, cluster={"log.retention.ms": "3"}), 2, 2),
        (ConfigLayers(cluster={"log.retention.ms": "3"}, static={"log.retention.ms": "4"}), 3, 3),
        (ConfigLayers(static={"log.retention.minutes": "2", "log.retention.hours": "1"}), 120_000, 4),
        (ConfigLayers(static={"log.retention.hours": "1"}), 3_600_000, 4),
        (ConfigLayers(static={"log.retention.hours": "-1"}), -1, 4),
        (ConfigLayers(), 604_800_000, 5),
    ],
)
def test_the_layers_of_retention(layers, value, source):
    resolved = resolve(TOPIC_KEYS["retention.ms"], layers)
    assert (resolved.value, resolved.source) == (value, source)
    assert value_of(TOPIC_KEYS["retention.ms"], layers) == value


def test_a_key_of_topic_and_broker_alike():
    layers = ConfigLayers(topic={"min.insync.replicas": "3"}, static={"min.insync.replicas": "2"})
    assert resolve(TOPIC_KEYS["min.insync.replicas"], layers).value == 3
    assert resolve(BROKER_KEYS["min.insync.replicas"], layers).value == 2


def test_everything_is_resolved():
    assert set(resolve_topic(ConfigLayers())) == set(TOPIC_KEYS)
    assert set(resolve_broker(ConfigLayers())) == set(BROKER_KEYS)
    assert topic_config({}) == {name: key.default for name, key in TOPIC_KEYS.items()}
    assert topic_config({"flush.ms": "9"})["flush.ms"] == 9
    assert topic_config({}, cluster={"log.flush.interval.ms": "8"})["flush.ms"] == 8


def test_overrides_are_checked_together():
    validate_topic_configs({"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "9"})
    with pytest.raises(KafkaError, match=r"max\.compaction\.lag\.ms"):
        validate_topic_configs({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"})


def test_a_controller_reads_its_settings_by_kafkas_keys():
    assert ControllerConfig.from_settings("c", {}) == ControllerConfig("c")
    static = {
        "broker.session.timeout.ms": "9000",
        "broker.disconnect.grace.ms": "50",
        "num.partitions": "6",
        "default.replication.factor": "3",
        "delete.topic.enable": "false",
        "auto.leader.rebalance.enable": "false",
    }
    config = ControllerConfig.from_settings("c", static)
    assert (config.session_timeout, config.disconnect_grace) == (9.0, 0.05)
    assert (config.num_partitions, config.default_replication_factor) == (6, 3)
    assert not config.delete_topic_enable
    assert config.leader_balance_interval is None
    with pytest.raises(KafkaError, match=r"num\.partitions"):
        ControllerConfig.from_settings("c", {"num.partitions": "none"})


def test_the_page_is_the_table():
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == render(), (
        "python -m metadata.config_docs > docs/configuration.md"
    )
