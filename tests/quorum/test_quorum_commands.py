"""The bytes of an entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraft.quorum.commands import NO_OP, ProposedBatch, decode_batch, encode_batch

batches = st.builds(
    ProposedBatch,
    term=st.integers(0, 2**31 - 1),
    expected_offset=st.integers(0, 2**62),
    records=st.lists(st.binary(max_size=20), max_size=5).map(tuple),
)


@given(batches)
def test_a_batch_comes_back(batch):
    assert decode_batch(encode_batch(batch.term, batch.expected_offset, batch.records)) == batch


@given(batches, st.data())
def test_a_batch_that_was_cut_is_none(batch, data):
    encoded = encode_batch(batch.term, batch.expected_offset, batch.records)
    assert decode_batch(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) is None


@given(batches, st.binary(min_size=1))
def test_a_batch_with_more_behind_it_is_none(batch, more):
    assert decode_batch(encode_batch(batch.term, batch.expected_offset, batch.records) + more) is None


@given(st.binary())
def test_any_bytes_are_a_batch_or_none(data):
    batch = decode_batch(data)
    assert batch is None or encode_batch(batch.term, batch.expected_offset, batch.records) == data


def test_a_no_op_is_no_batch():
    assert decode_batch(NO_OP) is None


def test_a_pickled_command_of_pysyncobj_is_no_batch():
    assert decode_batch(b"\x02\x80\x02]q\x00.") is None
    assert decode_batch(b"\x03\x80\x02K\x01.") is None
