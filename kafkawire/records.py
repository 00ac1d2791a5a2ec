"""Record batches in Kafka's format v2 (magic 2), on the wire and in log segments alike.

A batch is a header of 61 bytes and a records section, which is compressed as a whole. A broker works on the
header: reading it, checking the CRC-32C and stamping offsets copies nothing and decodes no record. The CRC
covers everything after itself, which leaves base offset and leader epoch outside, so that a broker can set
both in place.

    offset  0  base_offset        int64      43  producer_id     int64
            8  batch_length       int32      51  producer_epoch  int16
           12  leader_epoch       int32      53  base_sequence   int32
           16  magic              int8       57  record_count    int32
           17  crc                uint32     61  records
           21  attributes         int16
           23  last_offset_delta  int32
           27  base_timestamp     int64
           35  max_timestamp      int64

Source: KIP-98 and `org.apache.kafka.common.record.DefaultRecordBatch`.
"""

from __future__ import annotations

from kafkawire.batch_builder import Headers, NewRecord, build_batch
from kafkawire.batch_header import (
    BATCH_OVERHEAD,
    LOG_OVERHEAD,
    MAGIC,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    SMALLEST_RECORD,
    BatchHeader,
    check_crc,
    headers,
    is_zstd,
    read_header,
    stamp,
    stamp_log_append_time,
)
from kafkawire.batch_reader import Record, records, records_section
from kafkawire.batch_rewriter import (
    RawRecord,
    empty_batch,
    placeholder_at,
    placeholder_batch,
    raw_records,
    rebuild_batch,
    recompress_batch,
    with_base_timestamp,
)
from kafkawire.control_records import ControlRecord, ControlType, build_control_batch, parse_control_record

__all__ = [
    "BATCH_OVERHEAD",
    "LOG_OVERHEAD",
    "MAGIC",
    "NO_PRODUCER_ID",
    "NO_SEQUENCE",
    "SMALLEST_RECORD",
    "BatchHeader",
    "ControlRecord",
    "ControlType",
    "Headers",
    "NewRecord",
    "RawRecord",
    "Record",
    "build_batch",
    "build_control_batch",
    "check_crc",
    "empty_batch",
    "headers",
    "is_zstd",
    "parse_control_record",
    "placeholder_at",
    "placeholder_batch",
    "raw_records",
    "read_header",
    "rebuild_batch",
    "recompress_batch",
    "records",
    "records_section",
    "stamp",
    "stamp_log_append_time",
    "with_base_timestamp",
]
