"""The Fetch response as a broker writes it. See `kafkawire.fetch`."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, Protocol

from kafkawire.endpoints import NodeEndpoint, encode_endpoints
from kafkawire.primitives import TopicRef, compact_string, plain_string
from kafkawire.varints import unsigned

_FLEXIBLE = 12
_NODE_ENDPOINTS = 16

_INT32 = Struct(">i")
_HEAD_4 = Struct(">iiii")  # frame size, correlation id, throttle time, topics
_HEAD_7 = Struct(">iiihii")  # error code and session id before the topics
_HEAD_12 = Struct(">iiBihiB")  # topics + 1 at the end
_RESULT_4 = Struct(">ihqq")
_RESULT_5 = Struct(">ihqqq")
_SINGLE_12 = Struct(">BihqqqBi")  # partitions + 1, the partition up to and with the preferred read replica
_RESULT_12 = Struct(">ihqqq")
_ABORTED = Struct(">qq")
_LEADER = Struct(">BBBiiB")  # one tag, number 1, 9 bytes: leader id, epoch, no tags
_END_OF_SINGLE = b"\x00\x00\x00"  # no tags: of the partition, the topic, the response
_REST_OF_SINGLE_12 = _HEAD_12.size - 4 + _SINGLE_12.size + len(_END_OF_SINGLE)


class Payload(Protocol):
    """Records that are sent as they are. `size` is their number of bytes; 0 means none."""

    @property
    def size(self) -> int: ...


class FetchResult(NamedTuple):
    """What one partition gives.

    `aborted` lists (producer id, first offset) of aborted transactions; None unless the client reads
    committed records.
    `preferred_read_replica` is -1 without one. `leader` is (leader id, leader epoch) for a client that
    asked the wrong broker; versions before 12 leave it out.
    """

    topic: TopicRef
    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: Sequence[tuple[int, int]] | None
    preferred_read_replica: int
    records: Payload
    leader: tuple[int, int] | None


def encode_fetch_response(
    version: int,
    correlation_id: int,
    results: Sequence[FetchResult],
    *,
    throttle_ms: int = 0,
    error_code: int = 0,
    session_id: int = 0,
    endpoints: Sequence[NodeEndpoint] = (),
) -> list[bytes | Payload]:
    """The segments of the whole frame in order; the first starts with the frame's size.

    A payload stands where its bytes belong; one of size 0 does not appear. Results of one topic that follow
    each other share its entry. A frame holds less than 2 GiB: to keep to that is up to the caller. Versions
    before 7 leave out `error_code` and `session_id`, those before 16 `endpoints`.
    """
    if version >= _FLEXIBLE:
        if len(results) == 1:
            topic, index, error, high, stable, log_start, aborted, preferred, records, leader = results[0]
            if aborted is None and leader is None and not endpoints:
                size = records.size
                name = compact_string(topic) if isinstance(topic, str) else topic
                middle = _SINGLE_12.pack(2, index, error, high, stable, log_start, 0, preferred)
                length = unsigned(size + 1)
                head = (
                    _HEAD_12.pack(
                        _REST_OF_SINGLE_12 + len(name) + len(length) + size,
                        correlation_id,
                        0,
                        throttle_ms,
                        error_code,
                        session_id,
                        2,
                    )
                    + name
                    + middle
                    + length
                )
                return [head, records, _END_OF_SINGLE] if size else [head + _END_OF_SINGLE]
        segments = _Segments(_HEAD_12.pack(0, correlation_id, 0, throttle_ms, error_code, session_id, 0)[:-1])
        _add_flexible(segments, results)
        segments.parts.append(
            encode_endpoints(endpoints) if endpoints and version >= _NODE_ENDPOINTS else b"\x00"
        )
        return segments.finish()
    if version >= 7:
        head = _HEAD_7.pack(0, correlation_id, throttle_ms, error_code, session_id, 0)[:-4]
    else:
        head = _HEAD_4.pack(0, correlation_id, throttle_ms, 0)[:-4]
    segments = _Segments(head)
    _add_plain(version, segments, results)
    return segments.finish()


class _Segments:
    """Bytes and payloads in order, bytes that follow each other as one segment."""

    def __init__(self, head: bytes) -> None:
        self.parts = [head]  # of the segment under construction; the head has room for the frame's size
        self._finished: list[bytes | Payload] = []
        self._total = 0

    def add_payload(self, payload: Payload) -> None:
        if payload.size:
            self._close()
            self._finished.append(payload)
            self._total += payload.size

    def finish(self) -> list[bytes | Payload]:
        self._close()
        first = self._finished[0]
        assert isinstance(first, bytes)
        self._finished[0] = _INT32.pack(self._total - 4) + first[4:]
        return self._finished

    def _close(self) -> None:
        if self.parts:
            segment = b"".join(self.parts)
            self._finished.append(segment)
            self._total += len(segment)
            self.parts = []


def _runs(results: Sequence[FetchResult]) -> list[tuple[TopicRef, list[FetchResult]]]:
    """Results by topic, as long as those of one topic follow each other."""
    runs: list[tuple[TopicRef, list[FetchResult]]] = []
    topic = None
    for result in results:
        if result[0] != topic:
            topic = result[0]
            runs.append((topic, run := []))
        run.append(result)
    return runs


def _add_flexible(segments: _Segments, results: Sequence[FetchResult]) -> None:
    runs = _runs(results)
    segments.parts.append(unsigned(len(runs) + 1))
    for topic, run in runs:
        name = compact_string(topic) if isinstance(topic, str) else topic
        segments.parts += (name, unsigned(len(run) + 1))
        for _, index, error, high, stable, log_start, aborted, preferred, records, leader in run:
            parts = segments.parts
            parts.append(_RESULT_12.pack(index, error, high, stable, log_start))
            if aborted is None:
                parts.append(b"\x00")
            else:
                parts.append(unsigned(len(aborted) + 1))
                for transaction in aborted:
                    parts += (_ABORTED.pack(*transaction), b"\x00")
            parts += (_INT32.pack(preferred), unsigned(records.size + 1))
            segments.add_payload(records)
            segments.parts.append(b"\x00" if leader is None else _LEADER.pack(1, 1, 9, *leader, 0))
        segments.parts.append(b"\x00")


def _add_plain(version: int, segments: _Segments, results: Sequence[FetchResult]) -> None:
    runs = _runs(results)
    segments.parts.append(_INT32.pack(len(runs)))
    for name, run in runs:
        assert isinstance(name, str)
        segments.parts += (plain_string(name), _INT32.pack(len(run)))
        for _, index, error, high, stable, log_start, aborted, preferred, records, _ in run:
            parts = segments.parts
            if version >= 5:
                parts.append(_RESULT_5.pack(index, error, high, stable, log_start))
            else:
                parts.append(_RESULT_4.pack(index, error, high, stable))
            if aborted is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts.append(_INT32.pack(len(aborted)))
                parts.extend(_ABORTED.pack(*transaction) for transaction in aborted)
            if version >= 11:
                parts.append(_INT32.pack(preferred))
            parts.append(_INT32.pack(records.size))
            segments.add_payload(records)
