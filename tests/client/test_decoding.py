"""What of a fetch is handed out: not control records, not what was aborted, not what is corrupt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_batch, build_control_batch
from kraft.client.decoding import decode
from kraft.client.offset_lookup import Found


def batch(offset: int, *values: bytes, producer: int = -1, epoch: int = 0, **options: bool) -> bytes:
    return build_batch(
        [(0, None, value) for value in values],
        base_offset=offset,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        leader_epoch=epoch,
        **options,
    )


def marker(offset: int, producer: int, kind: ControlType) -> bytes:
    return build_control_batch(
        kind, timestamp=0, producer_id=producer, producer_epoch=0, coordinator_epoch=0, base_offset=offset
    )


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from(["write", "write", "commit", "abort"])),
        max_size=25,
    ),
    position=st.integers(0, 10),
)
def test_only_what_was_committed_is_left(steps: list[tuple[int, str]], position: int) -> None:
    data, offset = b"", 0
    opened: dict[int, list[int]] = {}
    committed: list[int] = []
    aborted: list[tuple[int, int]] = []
    # Everything is decided in the end, as below a last stable offset.
    for producer, step in [*steps, *((producer, "commit") for producer in (1, 2, 3))]:
        if step == "write":
            data += batch(offset, b"", b"", producer=producer, transactional=True)
            opened.setdefault(producer, []).extend([offset, offset + 1])
            offset += 2
        elif producer in opened:
            written = opened.pop(producer)
            if step == "commit":
                committed += written
            else:
                aborted.append((producer, written[0]))
            data += marker(offset, producer, ControlType[step.upper()])
            offset += 1
    decoded = decode(memoryview(data), position, aborted, committed_only=True)
    assert [record.offset for record in decoded.records] == sorted(o for o in committed if o >= position)
    assert decoded.next_offset == max(position, offset)
    everything = decode(memoryview(data), 0, aborted, committed_only=False)
    assert len(everything.records) == sum(step == "write" for _, step in steps) * 2


def test_places_know_the_epoch_before_them() -> None:
    data = batch(0, b"a", b"b", epoch=3) + batch(2, b"c", epoch=3) + batch(3, b"d", b"e", epoch=5)
    decoded = decode(memoryview(data), 1, None, committed_only=False)
    assert [record.value for record in decoded.records] == [b"b", b"c", b"d", b"e"]
    assert [decoded.after(offset) for offset in (1, 2, 3)] == [Found(2, 3), Found(3, 3), Found(4, 5)]
    assert decoded.end == Found(5, 5)
    assert decode(memoryview(b""), 7, None, committed_only=False).end == Found(7, -1)


def test_a_flipped_bit_is_noticed() -> None:
    data = bytearray(batch(0, b"value"))
    data[-3] ^= 1
    with pytest.raises(KafkaError) as refused:
        decode(memoryview(data), 0, None, committed_only=False)
    assert refused.value.code is ErrorCode.CORRUPT_MESSAGE
