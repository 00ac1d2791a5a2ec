"""What consumers say to each other inside JoinGroup's metadata, as far as the coordinator looks at it.

    version int16 · [topic string] · …

Every version of `ConsumerProtocolSubscription` begins so. Producers of that metadata are clients, so that
anything may be in it.
"""

from __future__ import annotations

import struct

from kafkawire.errors import KafkaError
from kafkawire.reader import Reader

CONSUMER_PROTOCOL_TYPE = "consumer"


def subscribed_topics(metadata: bytes) -> frozenset[str] | None:
    """The topics that a consumer subscribes to; None if that cannot be read."""
    reader = Reader(memoryview(metadata), compact=False)
    try:
        if reader.int16() < 0:
            return None
        return frozenset(reader.string() for _ in reader.items())
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError):
        return None
