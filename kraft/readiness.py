"""How a node tells the process that started it where it listens: one line on a descriptor.

The line is `KRAFT READY {json}`, written once, when the node can serve. A supervisor hands the write end
of a pipe over with `--ready-fd`; if the pipe closes without the line, the node failed and its log says why.
"""

from __future__ import annotations

import json
import os

import msgspec

_PREFIX = "KRAFT READY "


class NodeAddresses(msgspec.Struct, frozen=True):
    """Where a node really listens, after port 0 has become a port.

    `kafka` is (host, port) as clients connect to it, None on a node without the broker role; `node` is the
    same for the node-to-node HTTP port.
    """

    node_id: int
    node: tuple[str, int]
    kafka: tuple[str, int] | None = None


def ready_line(addresses: NodeAddresses) -> str:
    """The line that announces `addresses`, with its newline."""
    fields = {"node_id": addresses.node_id, "node": list(addresses.node)}
    if addresses.kafka is not None:
        fields["kafka"] = list(addresses.kafka)
    return f"{_PREFIX}{json.dumps(fields)}\n"


def parse_ready_line(line: str) -> NodeAddresses:
    """The addresses that `line` announces; ValueError if it is not such a line."""
    if not line.startswith(_PREFIX):
        raise ValueError(f"not a readiness line: {line[:80]!r}")
    try:
        fields = json.loads(line[len(_PREFIX) :])
        kafka = fields.get("kafka")
        return NodeAddresses(
            node_id=int(fields["node_id"]),
            node=(str(fields["node"][0]), int(fields["node"][1])),
            kafka=None if kafka is None else (str(kafka[0]), int(kafka[1])),
        )
    except (json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a readiness line: {line[:80]!r}") from error


def announce_ready(descriptor: int, addresses: NodeAddresses) -> None:
    """Write the line to `descriptor` and close it. A supervisor that is gone is no failure of the node."""
    try:
        os.write(descriptor, ready_line(addresses).encode())
    except BrokenPipeError:
        pass
    finally:
        os.close(descriptor)
