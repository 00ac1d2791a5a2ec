"""The values that place a node: roles, addresses, listeners, voters, the secret; and how they are written.

Every `parse_…` takes the text of a value and raises ValueError with what is wrong with it.
"""

from __future__ import annotations

import secrets
from enum import Enum
from typing import NamedTuple

MIN_SECRET_LENGTH = 16


class Role(Enum):
    """What a node does in its cluster; it can do both."""

    BROKER = "broker"
    CONTROLLER = "controller"


class Secret:
    """What proves to other nodes that this one belongs to the cluster. It prints as stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself: for the handshake, never for a log."""
        return self._value.encode()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self.reveal(), other.reveal())

    __hash__ = None  # type: ignore[assignment]


class Address(NamedTuple):
    """A host ("" is every interface) and a TCP port (0 is any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listener(NamedTuple):
    """A named place where Kafka clients connect."""

    name: str
    address: Address


class Voter(NamedTuple):
    """A controller of the quorum and the address of its node-to-node port."""

    node_id: int
    address: Address


def parse_text(value: str) -> str:
    """Any text but none."""
    if not value:
        raise ValueError("must not be empty")
    return value


def parse_node_id(value: str) -> int:
    """A node id: what Kafka allows, 0 to 2^31-1."""
    if not value.isascii() or not value.isdigit() or int(value) >= 1 << 31:
        raise ValueError("must be a number from 0 to 2147483647")
    return int(value)


def parse_items(value: str) -> list[str]:
    """The items of a comma-separated list, without blanks and empty ones."""
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_roles(value: str) -> frozenset[Role]:
    """`broker`, `controller` or both."""
    names = {role.value: role for role in Role}
    for item in parse_items(value):
        if item not in names:
            raise ValueError(f"{item} is no role; there are broker and controller")
    if not parse_items(value):
        raise ValueError("at least one of broker and controller")
    return frozenset(names[item] for item in parse_items(value))


def parse_address(value: str) -> Address:
    """`host:port`, `:port` or `[v6]:port`; ValueError says what is wrong."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "/" in host or (host and not _is_name(host)):
        raise ValueError(f"{value} is not host:port")
    return Address(host, int(port))


def _is_name(host: str) -> bool:
    """Whether the system can be asked for the host: the parts between dots have 1 to 63 characters."""
    return all(0 < len(part) < 64 for part in host.removesuffix(".").split("."))


def parse_listeners(value: str) -> tuple[Listener, ...]:
    """`NAME://host:port,…`, each name once."""
    listeners: list[Listener] = []
    for item in parse_items(value):
        name, separator, rest = item.partition("://")
        if not separator or not name.replace("_", "a").isalnum():
            raise ValueError(f"{item} is not NAME://host:port")
        listeners.append(Listener(name.upper(), parse_address(rest)))
    names = [listener.name for listener in listeners]
    if len(set(names)) != len(names):
        raise ValueError("a listener name stands twice")
    return tuple(listeners)


def parse_protocols(value: str) -> dict[str, str]:
    """`NAME:PROTOCOL,…`: the security protocol of each listener."""
    pairs = [item.partition(":") for item in parse_items(value)]
    if not all(colon and name and protocol for name, colon, protocol in pairs):
        raise ValueError("must be NAME:PROTOCOL,…")
    return {name.strip().upper(): protocol.strip().upper() for name, _, protocol in pairs}


def parse_voters(value: str) -> tuple[Voter, ...]:
    """`id@host:port,…`, each id once: the controllers and their node-to-node ports."""
    voters: list[Voter] = []
    for item in parse_items(value):
        node_id, at, address = item.partition("@")
        if not at:
            raise ValueError(f"{item} is not id@host:port")
        voters.append(Voter(parse_node_id(node_id), parse_address(address)))
        if not voters[-1].address.host or not voters[-1].address.port:
            raise ValueError(f"{item} names no host and port to connect to")
    ids = [voter.node_id for voter in voters]
    if len(set(ids)) != len(ids):
        raise ValueError("a node id stands twice")
    return tuple(voters)


def parse_secret(value: str) -> Secret:
    """The cluster's secret, long enough not to be guessed."""
    if len(value) < MIN_SECRET_LENGTH:
        raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters")
    return Secret(value)
