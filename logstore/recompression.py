"""`compression.type`: batches that are stored in another compression than their producer chose.

A leader decompresses the records of such a batch and compresses them anew, in the request; followers copy
what it wrote. Source: `LogValidator`, with `BrokerCompressionType` for the names.
"""

from __future__ import annotations

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BatchHeader, read_header, recompress_batch, records_section
from logstore.config import LogConfig
from logstore.storage import Buffer

_KINDS = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}


def as_configured(records: Buffer, header: BatchHeader, config: LogConfig) -> tuple[Buffer, BatchHeader]:
    """The one batch of `records` as it is to be stored, and its header; both as given if it came like that.

    `compression_type` of `config` names a compression. Raises KafkaError: CORRUPT_MESSAGE where the records
    do not decompress; MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE where they are too large afterwards.
    """
    kind = _KINDS[config.compression_type]
    if header.compression is kind:
        return records, header
    records = recompress_batch(header, records_section(header, records), kind)
    size = len(records)
    if size > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"{size} bytes as {config.compression_type}, max.message.bytes is {config.max_message_bytes}",
        )
    if size > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"{size} bytes as {config.compression_type}, segment.bytes is {config.segment_bytes}",
        )
    return records, read_header(records)
