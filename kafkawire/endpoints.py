"""Where brokers are reached, as Produce and Fetch tell it a client that asked the wrong one (KIP-951)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from kafkawire.primitives import compact_nullable, compact_string
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_INT32 = Struct(">i")


class NodeEndpoint(NamedTuple):
    """Where a leader that a result names can be reached."""

    node_id: int
    host: str
    port: int
    rack: str | None


def encode_endpoints(endpoints: Sequence[NodeEndpoint]) -> bytes:
    """The tagged fields of a response: these as number 0."""
    parts = [unsigned(len(endpoints) + 1)]
    for node_id, host, port, rack in endpoints:
        parts += (
            _INT32.pack(node_id),
            compact_string(host),
            _INT32.pack(port),
            compact_nullable(rack),
            b"\0",
        )
    field = b"".join(parts)
    return b"\x01\x00" + unsigned(len(field)) + field


def read_endpoints(field: Reader | None) -> list[NodeEndpoint]:
    """What the tagged field holds; nothing if there is none."""
    endpoints: list[NodeEndpoint] = []
    if field is not None:
        for _ in field.items():
            endpoints.append(
                NodeEndpoint(field.int32(), field.string(), field.int32(), field.nullable_string())
            )
            field.tags()
    return endpoints
