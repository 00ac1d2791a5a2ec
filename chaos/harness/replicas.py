"""Whether the replicas on the disks of a stopped cluster are the same, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kraft.local_cluster import ClusterPlan

CHUNK = 1024 * 1024


def differing(plan: ClusterPlan, topics: Iterable[tuple[str, int]]) -> list[str]:
    """Descriptions of partitions whose replicas differ; reads every segment."""
    found: list[str] = []
    for topic, partitions in topics:
        for index in range(partitions):
            name = f"{topic}-{index}"
            holders = {
                node.name: plan.directory / node.name / name
                for node in plan.nodes
                if (plan.directory / node.name / name).is_dir()
            }
            if holders:
                found += _compare(name, holders)
    return found


def _compare(name: str, holders: dict[str, Path]) -> Iterator[str]:
    first, *others = holders
    for other in others:
        position = _first_difference(_content(holders[first]), _content(holders[other]))
        if position is not None:
            yield f"{name} of {first} and {other} differ at byte {position:,}"


def _content(directory: Path) -> Iterator[bytes]:
    """A log's bytes, segment after segment; where one ends is each replica's own affair."""
    for path in sorted(directory.glob("*.log")):
        with open(path, "rb") as file:
            while data := file.read(CHUNK):
                yield data


def _first_difference(one: Iterator[bytes], other: Iterator[bytes]) -> int | None:
    position, left, right = 0, b"", b""
    while True:
        left, right = left or next(one, b""), right or next(other, b"")
        size = min(len(left), len(right))
        if not size:
            return None if left == right else position
        if left[:size] != right[:size]:
            return position + next(at for at in range(size) if left[at] != right[at])
        position, left, right = position + size, left[size:], right[size:]
