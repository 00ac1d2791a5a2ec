"""The five compression types: round trips, other people's framings, bombs, and damage."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.compression import Compression, compress, decompress
from kafkawire.errors import ErrorCode, KafkaError

EVERY_KIND = pytest.mark.parametrize("kind", Compression)
COMPRESSED = pytest.mark.parametrize("kind", [kind for kind in Compression if kind is not Compression.NONE])

PAYLOADS = st.one_of(
    st.binary(max_size=2_000),
    st.tuples(st.binary(min_size=1, max_size=20), st.integers(0, 10_000)).map(lambda part: part[0] * part[1]),
)
THEIR_ENCODERS = {
    Compression.GZIP: codec.gzip_encode,
    Compression.SNAPPY: codec.snappy_encode,
    Compression.LZ4: codec.lz4_encode,
    Compression.ZSTD: codec.zstd_encode,
}
THEIR_DECODERS = {
    Compression.GZIP: codec.gzip_decode,
    Compression.SNAPPY: codec.snappy_decode,
    Compression.LZ4: codec.lz4_decode,
    Compression.ZSTD: codec.zstd_decode,
}


@EVERY_KIND
@settings(max_examples=40, deadline=None)
@given(data=PAYLOADS)
def test_what_goes_in_comes_out(kind: Compression, data: bytes) -> None:
    for form in (data, bytearray(data), memoryview(data)):
        assert decompress(kind, memoryview(compress(kind, form))) == data


@COMPRESSED
@settings(max_examples=40, deadline=None)
@given(data=PAYLOADS.filter(bool))
def test_aiokafka_reads_ours_and_we_read_its(kind: Compression, data: bytes) -> None:
    assert bytes(THEIR_DECODERS[kind](compress(kind, data))) == data
    assert decompress(kind, bytes(THEIR_ENCODERS[kind](data))) == data


def test_lz4_frames_are_as_kafka_writes_them() -> None:
    compressed = compress(Compression.LZ4, b"x" * 200_000)
    # Version 1 and independent blocks, of at most 64 KiB; Kafka's Java client refuses dependent ones.
    assert compressed[:7] == bytes.fromhex("04224d18604082")
    assert compressed[-4:] == b"\x00" * 4


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("checksum", [True, False])
def test_every_flavour_of_lz4_frame_is_read(linked: bool, checksum: bool) -> None:
    data = b"0123456789" * 30_000
    compressor = cramjam.lz4.Compressor(content_checksum=checksum, block_linked=linked)
    compressor.compress(data)
    assert decompress(Compression.LZ4, bytes(compressor.finish())) == data


def test_incompressible_lz4_blocks_are_stored() -> None:
    data = bytes(cramjam.zstd.compress(b"".join(struct.pack(">I", n * n) for n in range(40_000))))
    compressed = compress(Compression.LZ4, data)
    assert len(compressed) < len(data) + 100
    assert decompress(Compression.LZ4, compressed) == data


def test_snappy_is_framed_as_snappy_java_does_it() -> None:
    compressed = compress(Compression.SNAPPY, b"x" * 40_000)
    assert compressed[:16] == b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    (first,) = struct.unpack_from(">i", compressed, 16)
    (second,) = struct.unpack_from(">i", compressed, 20 + first)
    assert 24 + first + second == len(compressed)


def test_bare_snappy_is_read_too() -> None:
    assert decompress(Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(b"abc" * 9))) == b"abc" * 9


def test_gzip_of_several_members_is_read() -> None:
    assert decompress(Compression.GZIP, gzip.compress(b"one") + gzip.compress(b"two")) == b"onetwo"


@EVERY_KIND
def test_limit_is_the_last_size_that_passes(kind: Compression) -> None:
    compressed = compress(kind, b"x" * 300_000)
    assert decompress(kind, compressed, limit=300_000) == b"x" * 300_000
    with pytest.raises(KafkaError) as caught:
        decompress(kind, compressed, limit=299_999)
    assert caught.value.code in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE)


@COMPRESSED
def test_bomb_stays_within_the_limit(kind: Compression) -> None:
    bomb = compress(kind, bytes(100_000_000))
    assert len(bomb) < 6_000_000
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError):
            decompress(kind, bomb, limit=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_snappy_block_that_claims_four_gigabytes_is_refused() -> None:
    with pytest.raises(KafkaError) as caught:
        decompress(Compression.SNAPPY, b"\xff\xff\xff\xff\x0f" + b"x" * 20)
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE


def refusal(kind: Compression, data: bytes) -> ErrorCode | None:
    try:
        decompress(kind, data, limit=1_000_000)
    except KafkaError as error:
        return error.code
    return None


@COMPRESSED
@settings(max_examples=60, deadline=None)
@given(original=PAYLOADS, data=st.data())
def test_damage_is_an_error_or_goes_unnoticed(
    mutations: Any, kind: Compression, original: bytes, data: st.DataObject
) -> None:
    damaged = data.draw(mutations(compress(kind, original)))
    assert refusal(kind, damaged) in (None, ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE)


@COMPRESSED
def test_cut_off_anywhere_is_corrupt(kind: Compression) -> None:
    compressed = compress(kind, b"0123456789" * 50)
    whole_blocks = {16} if kind is Compression.SNAPPY else set()  # snappy-java's form has no end mark
    for end in set(range(len(compressed))) - whole_blocks:
        assert refusal(kind, compressed[:end]) is ErrorCode.CORRUPT_MESSAGE, end


@pytest.mark.parametrize("length", [-1, 0, 1_000])
def test_snappy_block_length_that_lies_is_corrupt(length: int) -> None:
    framed = b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, length) + b"abc"
    assert refusal(Compression.SNAPPY, framed) is ErrorCode.CORRUPT_MESSAGE
