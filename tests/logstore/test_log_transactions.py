"""The last stable offset and the aborted transactions, against all batches read one by one."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.records import ControlType, build_batch, build_control_batch
from logstore.config import LogConfig
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.producers import ProducerState, ProducerStates

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000


def write(log: Log, producer: int, sequence: int) -> int:
    data = build_batch(
        [(NOW_MS, None, b"x" * 20)],
        producer_id=producer,
        producer_epoch=0,
        base_sequence=sequence,
        transactional=True,
    )
    verifications = log.producers.verifications
    verifications.grant(verifications.ask(producer, 0))
    return log.append_as_leader(data, 1, NOW_MS).first_offset


def mark(log: Log, producer: int, kind: ControlType) -> int:
    marker = build_control_batch(
        kind, timestamp=NOW_MS, producer_id=producer, producer_epoch=0, coordinator_epoch=0
    )
    return log.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR).first_offset


def test_the_last_stable_offset_waits_for_the_decision_and_its_replication(open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(build_batch([(NOW_MS, None, b"x")]), 1, NOW_MS)
    assert (log.first_undecided(), log.last_stable_offset(1)) == (None, 1)
    write(log, 7, 0)
    write(log, 8, 0)
    assert (log.first_undecided(), log.last_stable_offset(1), log.last_stable_offset(3)) == (1, 1, 1)
    mark(log, 7, ControlType.COMMIT)
    assert log.first_undecided() == 2
    assert log.last_stable_offset(3) == 1, "the marker at 3 is not replicated yet"
    assert log.last_stable_offset(4) == 2
    mark(log, 8, ControlType.ABORT)
    assert log.first_undecided() is None
    assert log.last_stable_offset(5) == 5
    assert log.aborted_transactions(0, 5) == [(8, 2)]


def test_the_last_stable_offset_is_found_without_gathering_all_open_transactions() -> None:
    states = []
    for producer in range(10_000):
        states.append(ProducerState(producer, 0))
        states[-1].transaction_start = producer
    producers = ProducerStates(states)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert producers.first_unstable(20_000) == 0
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before < 10_000, "every fetch asks for it"


def test_the_last_stable_offset_is_not_before_the_start(open_log: OpenLog) -> None:
    log = open_log()
    write(log, 7, 0)
    for number in range(1, 5):
        write(log, 7, number)
    log.advance_start(3)
    assert log.last_stable_offset(5) == 3


def test_a_marker_without_a_transaction_is_no_transaction(open_log: OpenLog) -> None:
    log = open_log()
    mark(log, 7, ControlType.ABORT)
    assert log.last_stable_offset(1) == 1
    assert log.aborted_transactions(0, 1) == []


steps = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["write", "write", "commit", "abort", "restart", "cut"])),
    max_size=40,
)


class Naive:
    """Transactions told from a list of (producer, kind), one per offset."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str]] = []

    def transactions(self) -> tuple[dict[int, int], list[tuple[int, int, int, str]]]:
        """Open ones by producer; finished ones as (producer, first, last, kind)."""
        opened: dict[int, int] = {}
        finished = []
        for offset, (producer, kind) in enumerate(self.batches):
            if kind == "write":
                opened.setdefault(producer, offset)
            elif producer in opened:
                finished.append((producer, opened.pop(producer), offset, kind))
        return opened, finished


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(0, 40), st.integers(0, 40), st.randoms(use_true_random=False))
def test_against_reading_everything(
    history: list[tuple[int, str]], start: int, span: int, chance: random.Random
) -> None:
    storage = MemoryStorage(random.Random(0))
    config = LogConfig(segment_bytes=500, index_interval_bytes=100)
    log = Log.open(storage, "/t-0", config, now_ms=NOW_MS)
    naive = Naive()
    sequences: dict[int, int] = {}
    for producer, kind in history:
        end = len(naive.batches)
        if kind == "write":
            state = log.producers.get(producer)
            sequences[producer] = (state.last_sequence if state else -1) + 1
            assert write(log, producer, sequences[producer]) == end
            naive.batches.append((producer, kind))
        elif kind == "restart":
            if chance.random() < 0.5:
                log.close()
                log = Log.open(storage, "/t-0", config, now_ms=NOW_MS, clean=True, recovery_point=end)
            else:
                storage.kill()
                point = int(chance.random() * end)
                log = Log.open(storage, "/t-0", config, now_ms=NOW_MS, recovery_point=point)
        elif kind == "cut":
            log.truncate_to(max(0, end - 3))
            del naive.batches[max(0, end - 3) :]
        else:
            assert mark(log, producer, ControlType.COMMIT if kind == "commit" else ControlType.ABORT) == end
            naive.batches.append((producer, kind))
        opened, finished = naive.transactions()
        end = len(naive.batches)
        assert log.end_offset == end
        assert log.first_undecided() == min(opened.values(), default=None)
        assert log.last_stable_offset(end) == min(opened.values(), default=end)
        aborted = {(producer, first) for producer, first, _, kind in finished if kind == "abort"}
        assert set(log.aborted_transactions(0, end)) == aborted
    stop = start + span
    expected = {
        (producer, first)
        for producer, first, last, kind in finished_of(naive)
        if kind == "abort" and last >= start and first < stop
    }
    assert set(log.aborted_transactions(start, stop)) == expected


def finished_of(naive: Naive) -> list[tuple[int, int, int, str]]:
    return naive.transactions()[1]


@pytest.mark.parametrize("damage", ["missing entries", "version", "zeros"])
def test_a_damaged_index_of_aborted_transactions_is_rebuilt(
    memory: MemoryStorage, open_log: OpenLog, damage: str
) -> None:
    log = open_log(segment_bytes=300)
    for number in range(12):
        write(log, 7, number)
        mark(log, 7, ControlType.ABORT)
    log.close()
    for name in memory.list("/data/t-0"):
        if name.endswith(".txnindex"):
            file = memory.open(f"/data/t-0/{name}")
            if damage == "version":
                file.write_at(0, b"\7")
            elif damage == "zeros":
                file.write_at(file.size(), bytes(34))
            else:
                file.truncate(file.size() - 1)
    log = open_log(segment_bytes=300, clean=True)
    assert log.aborted_transactions(0, 24) == [(7, 2 * number) for number in range(12)]
