"""Produce, versions 3 to 13, by hand: the request that a broker reads most often.

The common case, a flexible version with one-byte lengths, takes no function call per field. Record sections
stay where they are: `ProducePartition.records` is a view into the frame.

Source: `ProduceRequest.json` and `ProduceResponse.json` of Kafka 4.2. Version 5 adds the log start offset,
7 allows zstd (KIP-110), 8 the error message, 9 is flexible, 10 adds the current leader (KIP-951), 12 is for
transactions of version 2 (KIP-890), 13 refers to topics by id (KIP-516).
"""

from __future__ import annotations

from kafkawire.produce_request import (
    MAX_PARTITIONS,
    ProducePartition,
    ProduceRequest,
    decode_produce_request,
    knows_zstd,
)
from kafkawire.produce_response import ProduceResult, encode_produce_response

__all__ = [
    "MAX_PARTITIONS",
    "ProducePartition",
    "ProduceRequest",
    "ProduceResult",
    "decode_produce_request",
    "encode_produce_response",
    "knows_zstd",
]
