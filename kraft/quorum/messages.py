"""What may come in over a link: every message is checked here before anything believes it.

The names of types and fields are pysyncobj's where it has the message (`append_entries`, `next_node_idx`,
`request_vote`, `response_vote`, `timeout_now`), with a term added to every reply. `pre_vote`,
`pre_vote_reply` and `stale_term` are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kraft.quorum.commands import CommandKind
from kraft.quorum.config import MAX_CARRIED_BYTES
from kraft.quorum.links import Message

MAX_TERM = 2**31 - 1
"""A term is stored as a leader epoch, which Kafka's batch header gives 32 bits."""
MAX_INDEX = 2**62

Entry = tuple[bytes, int, int]
"""Command, index, term: as pysyncobj has it."""


class SnapshotPiece(NamedTuple):
    """Some bytes of an encoded snapshot, which goes up to the entry (`last_index`, `last_term`)."""

    data: bytes
    first: bool
    last: bool
    last_index: int
    last_term: int
    position: int


_KINDS = frozenset(bytes([kind]) for kind in CommandKind)


class MalformedMessageError(Exception):
    """A peer sent what no node of this program sends."""


def parse(message: object) -> Message:
    """The message with the fields that its type has and no other, each of its type and within its bounds.

    Raises MalformedMessageError.
    """
    if not isinstance(message, dict):
        raise MalformedMessageError("not a map")
    kind = message.get("type")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise MalformedMessageError(f"type {kind!r:.40}")
    parsed: Message = {"type": kind, "term": _integer(message, "term", MAX_TERM)}
    for name, read in fields.items():
        parsed[name] = read(message, name)
    if kind == "append_entries":
        _parse_append(message, parsed)
    return parsed


def _integer(message: Message, name: str, limit: int = MAX_INDEX) -> int:
    value = message.get(name)
    if type(value) is not int or not 0 <= value <= limit:
        raise MalformedMessageError(f"{name} is {value!r:.40}")
    return value


def _term(message: Message, name: str) -> int:
    return _integer(message, name, MAX_TERM)


def _boolean(message: Message, name: str) -> bool:
    value = message.get(name)
    if type(value) is not bool:
        raise MalformedMessageError(f"{name} is {value!r:.40}")
    return value


_FIELDS: dict[str, dict[str, Callable[[Message, str], Any]]] = {
    "append_entries": {"commit_index": _integer},
    "next_node_idx": {"next_node_idx": _integer, "reset": _boolean, "success": _boolean},
    "request_vote": {"last_log_index": _integer, "last_log_term": _term},
    "response_vote": {},
    "timeout_now": {},
    "pre_vote": {"round": _integer, "last_log_index": _integer, "last_log_term": _term},
    "pre_vote_reply": {"round": _integer, "granted": _boolean},
    "stale_term": {},
}


def _parse_append(message: Message, parsed: Message) -> None:
    if "transmission" in message:
        raise MalformedMessageError("an entry in pieces")  # pysyncobj would unpickle it
    if "serialized" in message:
        piece = message["serialized"]
        parsed["serialized"] = None if piece is None else _piece(piece)
        return
    parsed["prevLogIdx"] = _integer(message, "prevLogIdx")
    parsed["prevLogTerm"] = _term(message, "prevLogTerm")
    parsed["entries"] = _entries(message.get("entries"), parsed)


def _piece(piece: object) -> SnapshotPiece:
    match piece:
        case [
            bytes() as data,
            bool() as first,
            bool() as last,
            int() as index,
            int() as term,
            int() as position,
        ] if (
            len(data) <= MAX_CARRIED_BYTES
            and 0 < index <= MAX_INDEX
            and 0 <= term <= MAX_TERM
            and 0 <= position <= MAX_INDEX
            and first == (position == 0)
        ):
            return SnapshotPiece(data, first, last, index, term, position)
        case _:
            raise MalformedMessageError("serialized is not a piece of a snapshot")


def _entries(value: object, parsed: Message) -> list[Entry]:
    if not isinstance(value, list | tuple):
        raise MalformedMessageError("entries is not a list")
    entries: list[Entry] = []
    index, term, size = parsed["prevLogIdx"], parsed["prevLogTerm"], 0
    for item in value:
        match item:
            case [bytes() as command, int() as at, int() as in_term] if (
                at == index + 1 and term <= in_term <= parsed["term"] and command[:1] in _KINDS
            ):
                index, term, size = at, in_term, size + len(command)
                entries.append((command, at, in_term))
            case _:
                raise MalformedMessageError(f"entry after index {index}")
    if size > MAX_CARRIED_BYTES:
        raise MalformedMessageError(f"{size} bytes of entries")
    return entries
