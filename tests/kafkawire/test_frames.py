"""Frames: however the stream is cut, and however the sizes lie."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.frames import FrameError, FrameReader

CAPACITY = 8_192


def framed(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(payload)) + payload for payload in payloads)


def feed(reader: FrameReader, data: bytes) -> int:
    """Give as much of `data` as one read takes; the number of bytes taken."""
    room = reader.get_buffer(65_536)
    count = min(len(room), len(data))
    room[:count] = data[:count]
    reader.received(count)
    return count


def read_all(reader: FrameReader, stream: bytes, reads: list[int]) -> list[bytes]:
    frames: list[bytes] = []
    position = 0
    round_ = 0
    while position < len(stream):
        size = reads[round_ % len(reads)]
        round_ += 1
        position += feed(reader, stream[position : position + size])
        while (frame := reader.next_frame()) is not None:
            frames.append(bytes(frame))
    return frames


SIZES = st.one_of(
    st.integers(0, 50), st.integers(CAPACITY - 10, CAPACITY + 10), st.integers(0, 10 * CAPACITY)
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SIZES, max_size=12),
    st.lists(st.sampled_from([1, 3, 100, 4_000, 8_192, 100_000]), min_size=1, max_size=5).filter(
        lambda reads: reads != [1]
    ),
)
def test_frames_come_out_as_they_went_in(sizes: list[int], reads: list[int]) -> None:
    payloads = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    reader = FrameReader(max_frame=20 * CAPACITY, capacity=CAPACITY)
    if reads.count(1) + reads.count(3) == len(reads):
        payloads = [payload[:200] for payload in payloads]
    assert read_all(reader, framed(*payloads), reads) == payloads
    assert reader.buffered == 0


def test_largest_frame_passes_and_one_byte_more_does_not() -> None:
    reader = FrameReader(max_frame=100, capacity=CAPACITY)
    feed(reader, framed(b"x" * 100, b"y" * 101))
    frame = reader.next_frame()
    assert frame is not None
    assert bytes(frame) == b"x" * 100
    for _ in range(2):
        with pytest.raises(FrameError, match="101"):
            reader.next_frame()


def test_negative_size_is_an_error() -> None:
    reader = FrameReader(max_frame=100, capacity=CAPACITY)
    feed(reader, struct.pack(">i", -1))
    with pytest.raises(FrameError, match="-1"):
        reader.next_frame()
    assert len(reader.get_buffer()) > 0
    assert reader.capacity == CAPACITY


def test_size_alone_makes_nothing_grow() -> None:
    reader = FrameReader(max_frame=100_000_000, capacity=CAPACITY)
    feed(reader, struct.pack(">i", 100_000_000) + b"x" * 100)
    assert reader.next_frame() is None
    assert len(reader.get_buffer()) > 0
    assert reader.capacity == CAPACITY


def test_announced_gigabyte_grows_with_what_arrives() -> None:
    reader = FrameReader(max_frame=1 << 30, capacity=CAPACITY)
    feed(reader, struct.pack(">i", 1 << 30))
    arrived = 4
    while arrived < 1_000_000:
        arrived += feed(reader, b"x" * 50_000)
        assert reader.capacity <= max(8 * CAPACITY, 2 * (arrived + 4_096))
    assert reader.next_frame() is None


def test_large_frame_is_read_to_its_end_and_no_further() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=262_144)
    stream = framed(b"a" * 100_000, b"b" * 10)
    feed(reader, stream[:10])
    assert reader.next_frame() is None
    assert feed(reader, stream[10:]) == 100_004 - 10
    frame = reader.next_frame()
    assert frame is not None
    assert len(frame) == 100_000


def test_frame_is_writable_and_in_place() -> None:
    reader = FrameReader(max_frame=100, capacity=CAPACITY)
    feed(reader, framed(b"abc"))
    frame = reader.next_frame()
    assert frame is not None
    frame[0] = 0x7A
    assert bytes(frame) == b"zbc"


def test_very_large_buffer_is_given_back_as_soon_as_it_is_empty() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=CAPACITY)
    assert read_all(reader, framed(b"x" * 500_000), [100_000]) == [b"x" * 500_000]
    assert reader.capacity == CAPACITY


def test_frame_outlives_the_buffer_that_was_given_back() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=CAPACITY)
    stream = framed(b"x" * 500_000)
    frame = None
    while frame is None:
        stream = stream[feed(reader, stream) :]
        frame = reader.next_frame()
    assert reader.next_frame() is None
    assert reader.capacity == CAPACITY
    assert bytes(frame) == b"x" * 500_000


def test_somewhat_larger_buffer_is_kept_while_large_frames_come() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=CAPACITY)
    for _ in range(100):
        assert len(read_all(reader, framed(b"x" * 3 * CAPACITY), [100_000])) == 1
        assert reader.capacity == 4 * CAPACITY
    for _ in range(100):
        read_all(reader, framed(b"x"), [100])
    assert reader.capacity == CAPACITY


@pytest.mark.parametrize(
    "payloads", [[b"x" * 20_000], [b"x" * 100] * 200, [b"x" * 100_000], [b"x" * 400_000]]
)
def test_a_buffer_begins_small_and_grows_when_that_is_not_enough(payloads: list[bytes]) -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=65_536)
    small = reader.capacity
    assert read_all(reader, framed(*[b"x" * 100] * 50), [101]) == [b"x" * 100] * 50
    assert reader.capacity == small < 20_000
    feed(reader, framed(b"x" * 1_000_000)[:100])
    reader.get_buffer()
    assert reader.capacity == 65_536, "to announce a frame is not enough for more"
    reader = FrameReader(max_frame=1 << 20, capacity=65_536)
    assert read_all(reader, framed(*payloads), [30_000]) == payloads
    assert reader.capacity >= 65_536


def test_muted_reader_fills_up_and_no_further() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=CAPACITY)
    one = framed(b"x" * 1_000)
    stream = one * 100
    position = 0
    while not reader.full:
        position += feed(reader, stream[position:])
        assert reader.capacity == CAPACITY
    assert position <= CAPACITY
    count = 0
    while reader.next_frame() is not None:
        count += 1
    assert count == position // len(one)
    assert not reader.full


def test_reading_on_after_full_is_an_error() -> None:
    reader = FrameReader(max_frame=1 << 20, capacity=CAPACITY)
    assert feed(reader, framed(b"x" * 4_092) * 2) == CAPACITY
    assert reader.full
    with pytest.raises(BufferError):
        reader.get_buffer()


def test_too_small_a_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="100"):
        FrameReader(max_frame=1, capacity=100)
