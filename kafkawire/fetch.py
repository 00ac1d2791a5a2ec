"""Fetch, versions 4 to 18, by hand: long polls of every consumer, and bytes straight from a log.

A response is a list of segments. The records of a partition are not in it as bytes but as the payload
object that the caller gave, at the place where they belong, so that a shell can send them from the file.

Source: `FetchRequest.json` and `FetchResponse.json` of Kafka 4.2. Version 5 adds log start offsets, 7 fetch
sessions (KIP-227), 9 leader epochs (KIP-320), 11 racks (KIP-392); 12 is flexible. From 13 on topics are
referred to by id (KIP-516); 15 moves the replica id into a tagged field (KIP-903), 16 adds leaders' addresses
(KIP-951). 14, 17 and 18 are about tiered storage and followers.
"""

from __future__ import annotations

from kafkawire.fetch_request import (
    MAX_PARTITIONS,
    FetchPartition,
    FetchRequest,
    decode_fetch_request,
)
from kafkawire.fetch_response import FetchResult, Payload, encode_fetch_response

__all__ = [
    "MAX_PARTITIONS",
    "FetchPartition",
    "FetchRequest",
    "FetchResult",
    "Payload",
    "decode_fetch_request",
    "encode_fetch_response",
]
