"""Changing configs while the cluster runs (KIP-339), as Kafka's `ConfigurationControlManager` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.config_keys import (
    BROKER_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    ConfigLayers,
    ConfigType,
    broker_key,
    format_value,
    group_key,
    parse_value,
    topic_key,
    validate_group_configs,
    validate_topic_configs,
    value_of,
)
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    AlterConfigsResult,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)
from metadata.controller.decision import Decision, View
from metadata.controller.partitions import reconsider
from metadata.image import ConfigResource, MetadataImage
from metadata.records import CLUSTER_DEFAULT, ConfigRecord, ConfigResourceType, Record

MIN_ISR: Final = "min.insync.replicas"

ELECTION_KEYS: Final = frozenset({MIN_ISR, "unclean.leader.election.enable"})
"""Keys on which the state of partitions depends: changing them changes partitions in the same batch."""

_KEYS: Final[Mapping[ConfigResourceType, Mapping[str, ConfigKey]]] = {
    ConfigResourceType.TOPIC: TOPIC_KEYS,
    ConfigResourceType.GROUP: GROUP_KEYS,
    ConfigResourceType.BROKER: BROKER_KEYS,
}


def min_isr_records(view: View) -> list[Record]:
    """The records that give all nodes one `min.insync.replicas`, as eligible leader replicas need it.

    This node's own value becomes the cluster's if that has none, and those of single brokers go (KIP-966,
    Kafka's `maybeGenerateElrSafetyRecords`).
    """
    configs: list[ConfigRecord] = []
    if MIN_ISR not in view.image.configs.cluster_defaults:
        text = format_value(value_of(broker_key(MIN_ISR), ConfigLayers(static=view.config.static)))
        configs.append(ConfigRecord(ConfigResourceType.BROKER, CLUSTER_DEFAULT, MIN_ISR, text))
    configs += [
        ConfigRecord(resource.type, resource.name, MIN_ISR, None)
        for resource, values in view.image.configs.by_resource.items()
        if resource.type is ConfigResourceType.BROKER and resource.name and MIN_ISR in values
    ]
    return _with_partitions(view, configs)


def alter_configs(view: View, command: IncrementalAlterConfigs) -> Decision[IncrementalAlterConfigsReply]:
    """Change each resource that can be, all of its keys or none."""
    counts = Counter((resource.type, resource.name) for resource in command.resources)
    configs: list[ConfigRecord] = []
    results = []
    for resource in command.resources:
        try:
            _check_once(counts, resource)
            configs += _alter(view, resource, replace=command.replace)
        except KafkaError as error:
            results.append(AlterConfigsResult(resource.type, resource.name, error.code, error.message))
        else:
            results.append(AlterConfigsResult(resource.type, resource.name))
    reply = IncrementalAlterConfigsReply(tuple(results))
    return Decision((), reply) if command.validate_only else Decision(_with_partitions(view, configs), reply)


def _check_once(counts: Counter[tuple[int, str]], resource: AlterConfigsResource) -> None:
    if counts[resource.type, resource.name] > 1:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")


def _alter(view: View, resource: AlterConfigsResource, *, replace: bool) -> list[ConfigRecord]:
    """The records of one resource. Raises KafkaError for what is wrong with it."""
    target = _existing(view.image, resource)
    if len({alteration.name for alteration in resource.ops}) < len(resource.ops):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    before = view.image.configs.of(target)
    after = {} if replace else dict(before)
    for alteration in resource.ops:
        _apply(view, target, alteration, after)
    if target.type is ConfigResourceType.TOPIC:
        validate_topic_configs(after)
    elif target.type is ConfigResourceType.GROUP:
        validate_group_configs(after, view.config.static)
    elif target.name == CLUSTER_DEFAULT and MIN_ISR in before.keys() - after.keys():
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            "Cluster-level min.insync.replicas cannot be removed while eligible leader replicas are kept.",
        )
    names = [alteration.name for alteration in resource.ops]
    if replace:
        names += [name for name in before if name not in after]
    return [
        ConfigRecord(target.type, target.name, name, after.get(name))
        for name in names
        if after.get(name) != before.get(name)
    ]


def _existing(image: MetadataImage, resource: AlterConfigsResource) -> ConfigResource:
    """The resource, which must be a topic or a broker that exists, or any group."""
    if resource.type == ConfigResourceType.TOPIC:
        if resource.name not in image.topics:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{resource.name}' does not exist."
            )
        return ConfigResource(ConfigResourceType.TOPIC, resource.name)
    if resource.type == ConfigResourceType.GROUP:
        if not resource.name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
        return ConfigResource(ConfigResourceType.GROUP, resource.name)
    if resource.type != ConfigResourceType.BROKER:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unsupported config resource type {resource.type}.")
    if resource.name == CLUSTER_DEFAULT:
        return ConfigResource(ConfigResourceType.BROKER, CLUSTER_DEFAULT)
    if not (resource.name.isascii() and resource.name.isdigit()):
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Invalid broker name {resource.name}.")
    broker_id = int(resource.name[:12])
    if broker_id not in image.brokers:
        raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"No broker with id {broker_id} found.")
    return ConfigResource(ConfigResourceType.BROKER, str(broker_id))


def _apply(view: View, target: ConfigResource, alteration: ConfigAlteration, values: dict[str, str]) -> None:
    """Make one change in `values`."""
    name, text = alteration.name, alteration.value
    try:
        op = AlterConfigOp(alteration.op)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown config operation {alteration.op}.") from None
    if op is AlterConfigOp.DELETE:
        # MirrorMaker removes whatever has its default in the other cluster, which may know more keys.
        if name in _KEYS[target.type]:
            _key(target, name)
        values.pop(name, None)
        return
    key = _key(target, name)
    if text is None:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Null value not supported for : {name}")
    _check_agreed(target, name)
    if op is not AlterConfigOp.SET:
        text = _altered_list(view, target, key, values, (op, text))
    parse_value(key, text)
    values[name] = text


def _key(target: ConfigResource, name: str) -> ConfigKey:
    """The key, which must be one that can be changed."""
    if target.type is ConfigResourceType.TOPIC:
        return topic_key(name)
    if target.type is ConfigResourceType.GROUP:
        return group_key(name)
    key = broker_key(name)
    if key.read_only:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Cannot update these configs dynamically: {name}")
    return key


def _check_agreed(target: ConfigResource, name: str) -> None:
    """Raise KafkaError(INVALID_CONFIG) for min.insync.replicas of one broker: a leader that commits with
    fewer replicas than the controller counts on might be followed by an eligible one that lacks records."""
    if name == MIN_ISR and target.type is ConfigResourceType.BROKER and target.name:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            "Broker-level min.insync.replicas cannot be altered while eligible leader replicas are kept.",
        )


def _altered_list(
    view: View,
    target: ConfigResource,
    key: ConfigKey,
    values: Mapping[str, str],
    change: tuple[AlterConfigOp, str],
) -> str:
    """The text of a list after APPEND or SUBTRACT: of the resource's own value, else of the value in
    effect."""
    op, text = change
    if key.type is not ConfigType.LIST:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, f"Can't {op.name} to key {key.name} because its type is not LIST."
        )
    own = {key.name: values[key.name]} if key.name in values else {}
    if target.type is ConfigResourceType.TOPIC:
        layers = view.layers(own)
    else:
        layers = ConfigLayers({}, own, view.image.configs.cluster_defaults, view.config.static)
    present = value_of(key, layers)
    items = list(present) if isinstance(present, tuple) else []
    for item in (each.strip() for each in text.split(",")):
        if op is AlterConfigOp.APPEND and item not in items:
            items.append(item)
        elif op is AlterConfigOp.SUBTRACT and item in items:
            items.remove(item)
    return format_value(tuple(items)) or ""


def _with_partitions(view: View, configs: list[ConfigRecord]) -> list[Record]:
    """The records, followed by what they mean for partitions."""
    records: list[Record] = [*configs]
    topics: set[str] = set()
    for record in configs:
        if record.name not in ELECTION_KEYS:
            continue
        if record.resource_type is ConfigResourceType.TOPIC:
            topics.add(record.resource_name)
        elif record.resource_name == CLUSTER_DEFAULT:
            topics.update(view.image.topics.by_name)
    if topics:
        after = View(view.config, view.image.apply(configs, view.image.next_offset))
        records += reconsider(after, topics)
    return records
