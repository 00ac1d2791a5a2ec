"""What a node is told: parsed once from file, environment and flags, and never looked up as text again.

The keys are Kafka's. Those that place a node (`node.id`, `listeners`, `log.dirs`, …) are fields of
`NodeConfig`; all others are in the table of `metadata.config_keys` and arrive, typed, in `settings`. Ours are
`cluster.id`, `cluster.secret`, `cluster.secret.file`, `node.listener` and `advertised.node.listener`.

A mistake is one line that names its key and its origin: `ConfigError`.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from kafkawire.errors import KafkaError
from kraft.config_sources import ConfigError, Setting
from kraft.config_values import (
    Address,
    Listener,
    Role,
    Secret,
    Voter,
    parse_address,
    parse_items,
    parse_listeners,
    parse_node_id,
    parse_protocols,
    parse_roles,
    parse_secret,
    parse_text,
    parse_voters,
)
from kraft.events import LogFormat
from metadata.config_ignored import IGNORED_KEYS
from metadata.config_keys import BROKER_KEYS, ConfigValue, parse_value

__all__ = [
    "Address",
    "ClusterConfig",
    "ConfigError",
    "Listener",
    "NetworkConfig",
    "NodeConfig",
    "ProcessConfig",
    "Role",
    "Secret",
    "Setting",
    "Voter",
    "build_config",
]

T = TypeVar("T")

DEFAULT_KAFKA_PORT = 9092
DEFAULT_NODE_PORT = 9093
DEFAULT_LOG_DIRS = "/tmp/kafka-logs"
_WILDCARDS = ("", "0.0.0.0", "::")
_SECURE = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")


class ClusterConfig(msgspec.Struct, frozen=True):
    """What all nodes of a cluster share. Without a `cluster_id`, `kraft.formatting` finds one."""

    voters: tuple[Voter, ...]
    secret: Secret
    cluster_id: str | None = None


class NetworkConfig(msgspec.Struct, frozen=True):
    """Where a node listens, and what it tells others. A controller alone has no `listeners`."""

    listeners: tuple[Listener, ...]
    advertised_listeners: tuple[Listener, ...]
    node_listener: Address
    advertised_node_listener: Address


class ProcessConfig(msgspec.Struct, frozen=True):
    """How the process meets who started it."""

    log_format: LogFormat = LogFormat.HUMAN
    ready_fd: int | None = None


class NodeConfig(msgspec.Struct, frozen=True):
    """One node, whole.

    `settings` has every key of the table, typed; `static` has the text of those that were given and are no
    secret, for `metadata.config_keys.ConfigLayers`; `ignored` names Kafka's keys that mean nothing here.
    """

    node_id: int
    roles: frozenset[Role]
    cluster: ClusterConfig
    network: NetworkConfig
    log_dirs: tuple[str, ...]
    metadata_dir: str
    rack: str | None
    settings: Mapping[str, ConfigValue]
    static: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    process: ProcessConfig = msgspec.field(default_factory=ProcessConfig)

    @property
    def explicit(self) -> frozenset[str]:
        """The names of the keys in `static`."""
        return frozenset(self.static)

    @property
    def is_broker(self) -> bool:
        return Role.BROKER in self.roles

    @property
    def is_controller(self) -> bool:
        return Role.CONTROLLER in self.roles


class _Given:
    """What was given. Keys are taken out of it, so that what is left at the end is what nobody knows."""

    def __init__(self, given: Mapping[str, Setting]) -> None:
        self._left = dict(given)
        for key, setting in given.items():
            if not _is_unicode(setting.text):
                raise ConfigError(f"{key}: is not Unicode text ({setting.origin})")

    def take(self, key: str, parse: Callable[[str], T]) -> T | None:
        """The parsed value of `key`, None if not given; a ValueError of `parse` becomes the one line."""
        setting = self._left.pop(key, None)
        if setting is None:
            return None
        try:
            return parse(setting.text.strip())
        except ValueError as error:
            shown = "***" if _is_secret(key) else setting.text
            raise ConfigError(f"{key}={shown}: {error} ({setting.origin})") from None

    def rest(self) -> dict[str, Setting]:
        """What nobody has taken."""
        return self._left


def _is_unicode(text: str) -> bool:
    """False for the halves of characters that other bytes of a command line or the environment become."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_secret(key: str) -> bool:
    return BROKER_KEYS[key].sensitive


def build_config(given: Mapping[str, Setting], process: ProcessConfig | None = None) -> NodeConfig:
    """The configuration of one node from all that was given; raises ConfigError.

    A generated secret and the machine's name are the only things that are not in `given`.
    """
    keys = _Given(given)
    node_id = keys.take("node.id", parse_node_id)
    if node_id is None:
        raise ConfigError("node.id: is needed (--node-id, KRAFT_NODE_ID or in the file)")
    roles = keys.take("process.roles", parse_roles) or frozenset(Role)
    voters = keys.take("controller.quorum.voters", parse_voters) or ()
    network = _network(
        keys, roles, next((voter.address for voter in voters if voter.node_id == node_id), None)
    )
    log_dirs = _log_dirs(keys)
    return NodeConfig(
        node_id=node_id,
        roles=roles,
        cluster=_cluster(keys, Voter(node_id, network.advertised_node_listener), roles, voters),
        network=network,
        log_dirs=log_dirs,
        metadata_dir=keys.take("metadata.log.dir", parse_text) or log_dirs[0],
        rack=keys.take("broker.rack", parse_text),
        settings=_settings(keys.rest()),
        static={name: given[name].text for name in BROKER_KEYS if name in given and not _is_secret(name)},
        ignored=tuple(sorted(IGNORED_KEYS & given.keys())),
        process=process or ProcessConfig(),
    )


def _log_dirs(keys: _Given) -> tuple[str, ...]:
    single = keys.take("log.dir", parse_text)
    several = keys.take("log.dirs", parse_items)
    directories = tuple(directory.rstrip("/") or "/" for directory in several or [single or DEFAULT_LOG_DIRS])
    if len(set(directories)) != len(directories):
        raise ConfigError(f"log.dirs={','.join(directories)}: a directory stands twice")
    return directories


def _cluster(keys: _Given, this: Voter, roles: frozenset[Role], voters: tuple[Voter, ...]) -> ClusterConfig:
    """Quorum, secret and id; a controller that is given no voters is a quorum of its own."""
    found_at = keys.take("controller.quorum.bootstrap.servers", parse_items) or ()
    if len(found_at) > 1 and not voters:
        raise ConfigError(
            "controller.quorum.voters: is needed: controller.quorum.bootstrap.servers does not tell the ids "
            "of several controllers"
        )
    votes = this.node_id in {voter.node_id for voter in voters}
    if Role.CONTROLLER in roles and voters and not votes:
        raise ConfigError(f"controller.quorum.voters: node {this.node_id} is a controller but not among them")
    if Role.CONTROLLER not in roles and votes:
        raise ConfigError(f"controller.quorum.voters: node {this.node_id} is among them but is no controller")
    if Role.CONTROLLER not in roles and not voters:
        raise ConfigError("controller.quorum.voters: is needed by a node that is no controller")
    return ClusterConfig(
        voters=voters or (this,),
        secret=_secret(keys, alone=not voters and len(roles) == 2),
        cluster_id=keys.take("cluster.id", parse_text),
    )


def _secret(keys: _Given, *, alone: bool) -> Secret:
    path = keys.take("cluster.secret.file", parse_text)
    secret = keys.take("cluster.secret", parse_secret)
    if secret is not None:
        return secret
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:
                return parse_secret(file.read(4096).strip())
        except OSError as error:
            raise ConfigError(f"cluster.secret.file={path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"cluster.secret.file={path}: {error}") from None
    if alone:
        return Secret(secrets.token_hex(32))
    raise ConfigError("cluster.secret: is needed by a cluster of several nodes (or cluster.secret.file)")


def _network(keys: _Given, roles: frozenset[Role], vote: Address | None) -> NetworkConfig:
    """Listeners of a node; `vote` is the address that the quorum's voters give it, None if it is not one.

    Kafka writes a controller's port as one of `listeners` and names it in `controller.listener.names`: such a
    listener is read as `node.listener`.
    """
    listeners = keys.take("listeners", parse_listeners)
    advertised = keys.take("advertised.listeners", parse_listeners)
    protocols = keys.take("listener.security.protocol.map", parse_protocols) or {}
    controller_names = {name.upper() for name in keys.take("controller.listener.names", parse_items) or ()}
    own = keys.take("node.listener", parse_address)
    own_advertised = keys.take("advertised.node.listener", parse_address)
    of_controller = next((each.address for each in advertised or () if each.name in controller_names), None)
    for listener in listeners or ():
        protocol = protocols.get(listener.name, listener.name)
        if protocol != "PLAINTEXT" and (listener.name in protocols or protocol in _SECURE):
            raise ConfigError(f"listeners: {listener.name} wants {protocol}, only PLAINTEXT is served")
        if own is None and listener.name in controller_names:
            own = listener.address
    own = own or (Address("", vote.port) if vote else Address("", DEFAULT_NODE_PORT))
    if Role.CONTROLLER in roles and not own.port:
        raise ConfigError("node.listener: a controller has to be found, so its port cannot be 0")
    if Role.BROKER in roles:
        listeners = listeners or (Listener("PLAINTEXT", Address("", DEFAULT_KAFKA_PORT)),)
        listeners = tuple(listener for listener in listeners if listener.name not in controller_names)
        if not listeners:
            raise ConfigError(
                "listeners: all are in controller.listener.names, and a broker needs one for its clients"
            )
    else:
        listeners, advertised = (), None
    name = keys.take("inter.broker.listener.name", parse_text)
    if name is not None and listeners and name.upper() not in {listener.name for listener in listeners}:
        raise ConfigError(f"inter.broker.listener.name={name}: is not one of listeners")
    return NetworkConfig(
        listeners=listeners,
        advertised_listeners=_advertised(listeners, advertised, controller_names),
        node_listener=own,
        advertised_node_listener=own_advertised or vote or of_controller or _reachable(own),
    )


def _advertised(
    listeners: tuple[Listener, ...], advertised: tuple[Listener, ...] | None, controller_names: set[str]
) -> tuple[Listener, ...]:
    given = {item.name: item for item in advertised or () if item.name not in controller_names}
    unknown = given.keys() - {listener.name for listener in listeners}
    if unknown:
        raise ConfigError(f"advertised.listeners: {', '.join(sorted(unknown))} is not one of listeners")
    for listener in given.values():
        if listener.address.host in _WILDCARDS:
            raise ConfigError(
                f"advertised.listeners: {listener.name} names no host that a client could reach"
            )
    return tuple(
        given.get(listener.name) or listener._replace(address=_reachable(listener.address))
        for listener in listeners
    )


def _reachable(address: Address) -> Address:
    """The address as others may know it: every interface becomes this machine's name."""
    return address._replace(host=socket.gethostname()) if address.host in _WILDCARDS else address


def _settings(given: Mapping[str, Setting]) -> dict[str, ConfigValue]:
    """Every key of the table, typed: as given, or its default."""
    settings = {name: key.default for name, key in BROKER_KEYS.items()}
    for name, setting in given.items():
        if name in IGNORED_KEYS:
            continue
        if name not in BROKER_KEYS:
            raise ConfigError(f"{name}: is not a configuration key ({setting.origin})")
        try:
            settings[name] = parse_value(BROKER_KEYS[name], setting.text)
        except KafkaError as error:
            raise ConfigError(f"{error.message} ({setting.origin})") from None
    return settings
