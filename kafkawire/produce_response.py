"""The Produce response as a broker writes it. See `kafkawire.produce`."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from kafkawire.endpoints import NodeEndpoint, encode_endpoints
from kafkawire.primitives import TopicRef, compact_nullable, compact_string, plain_nullable, plain_string
from kafkawire.varints import unsigned

_FLEXIBLE = 9

_INT32 = Struct(">i")
_SIZE_AND_CORRELATION = Struct(">ii")
_HEAD_PLAIN = Struct(">iii")  # frame size, correlation id, topics
_HEAD_FLEXIBLE = Struct(">iiBB")  # frame size, correlation id, no tags, topics + 1
_PARTITION_3 = Struct(">ihqq")
_PARTITION_5 = Struct(">ihqqq")
_PARTITION_8 = Struct(">ihqqqi")  # ends in: no record errors
_PARTITION_9 = Struct(">ihqqqB")
# One topic, one partition, no error message: everything after the topic's name.
_SINGLE_3 = Struct(">iihqqi")
_SINGLE_5 = Struct(">iihqqqi")
_SINGLE_8 = Struct(">iihqqqihi")
_SINGLE_9 = Struct(">BihqqqBBBBiB")
_REST_OF_SINGLE_9 = _HEAD_FLEXIBLE.size - 4 + _SINGLE_9.size  # the frame's size without the topic's name
_LEADER = Struct(">BBBiiB")  # one tag, number 0, 9 bytes: leader id, epoch, no tags


class ProduceResult(NamedTuple):
    """What became of one partition's records.

    `base_offset` is -1 on an error, `log_append_time_ms` -1 unless the broker set the time. `leader` is
    (leader id, leader epoch) for a client that asked the wrong broker; versions before 10 leave it out.
    """

    topic: TopicRef
    partition: int
    error_code: int
    base_offset: int
    log_append_time_ms: int
    log_start_offset: int
    error_message: str | None
    leader: tuple[int, int] | None


def encode_produce_response(
    version: int,
    correlation_id: int,
    results: Sequence[ProduceResult],
    throttle_ms: int = 0,
    endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """The whole frame. Results of one topic that follow each other share its entry.

    `endpoints` goes out from version 10 on.
    """
    if len(results) == 1 and not endpoints:
        topic, partition, error, base, append_time, log_start, message, leader = results[0]
        if message is None and leader is None:
            if version >= _FLEXIBLE:
                name = compact_string(topic) if isinstance(topic, str) else topic
                return (
                    _HEAD_FLEXIBLE.pack(_REST_OF_SINGLE_9 + len(name), correlation_id, 0, 2)
                    + name
                    + _SINGLE_9.pack(
                        2, partition, error, base, append_time, log_start, 1, 0, 0, 0, throttle_ms, 0
                    )
                )
            return _encode_single_plain(version, correlation_id, results[0], throttle_ms)
    if version >= _FLEXIBLE:
        return _encode_flexible(version, correlation_id, results, throttle_ms, endpoints)
    return _encode_plain(version, correlation_id, results, throttle_ms)


def _encode_single_plain(version: int, correlation_id: int, result: ProduceResult, throttle_ms: int) -> bytes:
    topic, partition, error, base, append_time, log_start, _, _ = result
    assert isinstance(topic, str)
    name = plain_string(topic)
    if version >= 8:
        rest = _SINGLE_8.pack(1, partition, error, base, append_time, log_start, 0, -1, throttle_ms)
    elif version >= 5:
        rest = _SINGLE_5.pack(1, partition, error, base, append_time, log_start, throttle_ms)
    else:
        rest = _SINGLE_3.pack(1, partition, error, base, append_time, throttle_ms)
    return _HEAD_PLAIN.pack(8 + len(name) + len(rest), correlation_id, 1) + name + rest


def _runs(results: Sequence[ProduceResult]) -> list[tuple[TopicRef, list[ProduceResult]]]:
    """Results by topic, as long as those of one topic follow each other."""
    runs: list[tuple[TopicRef, list[ProduceResult]]] = []
    topic = None
    for result in results:
        if result[0] != topic:
            topic = result[0]
            runs.append((topic, run := []))
        run.append(result)
    return runs


def _encode_plain(
    version: int, correlation_id: int, results: Sequence[ProduceResult], throttle_ms: int
) -> bytes:
    runs = _runs(results)
    parts: list[bytes] = []
    for name, run in runs:
        assert isinstance(name, str)
        parts += (plain_string(name), _INT32.pack(len(run)))
        for _, partition, error, base, append_time, log_start, message, _ in run:
            if version >= 8:
                parts.append(_PARTITION_8.pack(partition, error, base, append_time, log_start, 0))
                parts.append(plain_nullable(message))
            elif version >= 5:
                parts.append(_PARTITION_5.pack(partition, error, base, append_time, log_start))
            else:
                parts.append(_PARTITION_3.pack(partition, error, base, append_time))
    parts.append(_INT32.pack(throttle_ms))
    body = b"".join(parts)
    return _HEAD_PLAIN.pack(8 + len(body), correlation_id, len(runs)) + body


def _encode_flexible(
    version: int,
    correlation_id: int,
    results: Sequence[ProduceResult],
    throttle_ms: int,
    endpoints: Sequence[NodeEndpoint],
) -> bytes:
    runs = _runs(results)
    parts = [b"\x00", unsigned(len(runs) + 1)]
    for topic, run in runs:
        name = compact_string(topic) if isinstance(topic, str) else topic
        parts += (name, unsigned(len(run) + 1))
        for _, partition, error, base, append_time, log_start, message, leader in run:
            parts.append(_PARTITION_9.pack(partition, error, base, append_time, log_start, 1))
            parts.append(compact_nullable(message))
            if leader is None or version < 10:
                parts.append(b"\x00")
            else:
                parts.append(_LEADER.pack(1, 0, 9, *leader, 0))
        parts.append(b"\x00")
    parts.append(_INT32.pack(throttle_ms))
    parts.append(encode_endpoints(endpoints) if endpoints and version >= 10 else b"\x00")
    body = b"".join(parts)
    return _SIZE_AND_CORRELATION.pack(4 + len(body), correlation_id) + body
