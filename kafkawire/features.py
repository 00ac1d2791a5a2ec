"""The features that a broker finalizes (KIP-584): what a client may rely on beyond versions of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Feature(NamedTuple):
    """A feature, the levels of it that are supported, and the one that is in force."""

    name: str
    min_level: int
    max_level: int
    finalized: int


FINALIZED_EPOCH: Final = 0
"""Since when the features are in force: ever since."""

FEATURES: Final = (
    Feature("eligible.leader.replicas.version", 0, 1, finalized=1),
    Feature("group.version", 0, 1, finalized=1),
    Feature("transaction.version", 0, 2, finalized=2),
)
"""What each lets clients rely on:

`eligible.leader.replicas.version` 1: a replica that left the ISR may still be safe to elect (KIP-966).
`group.version` 1: there are groups of the next generation (KIP-848).
`transaction.version` 2: Produce and TxnOffsetCommit make partitions part of a transaction, and each
transaction has an epoch of its own (KIP-890).
"""


def supported_features(version: int) -> Sequence[Feature]:
    """The features that ApiVersions of this version may name as supported: before 4, clients refuse a level
    of zero (KAFKA-17011)."""
    return [feature for feature in FEATURES if version >= 4 or feature.min_level > 0]
