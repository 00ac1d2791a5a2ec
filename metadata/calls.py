"""Names and values of the calls between nodes that concern metadata: one place for both sides."""

from __future__ import annotations

import msgspec

from kafkawire.errors import ErrorCode, KafkaError

COMMAND_PREFIX = "controller."
"""A command's method is this and the name of its class; see `metadata.controller.commands`."""

METADATA_FEED = "metadata.feed"
"""Stream; the argument is the offset to begin at. Items, each a map: `snapshot` and `next_offset`;
`first_offset`, `term` and `records`; `leader` (None while nobody is) and `term`."""

DESCRIBE_QUORUM = "quorum.describe"
"""Call without an argument; the active controller answers with a QuorumDescription."""


class QuorumReplica(msgspec.Struct, frozen=True):
    """One node's place in the metadata log. Times are wall-clock milliseconds, -1 where unknown."""

    node_id: int
    log_end_offset: int
    last_fetch_ms: int = -1
    last_caught_up_ms: int = -1
    host: str = ""
    port: int = 0


class QuorumDescription(msgspec.Struct, frozen=True):
    """The quorum as the active controller knows it."""

    leader_id: int
    term: int
    high_watermark: int
    voters: tuple[QuorumReplica, ...]
    observers: tuple[QuorumReplica, ...]


def not_controller(leader_id: int | None) -> KafkaError:
    """What a controller that is not active answers; the message names the one that is, if it is known."""
    return KafkaError(ErrorCode.NOT_CONTROLLER, "" if leader_id is None else str(leader_id))


def leader_named_by(error: KafkaError) -> int | None:
    """The controller that a NOT_CONTROLLER error names."""
    return int(error.message) if error.message.isdigit() else None
