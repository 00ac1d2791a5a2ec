"""Leader epochs: row by row as Kafka's `LeaderEpochFileCache` answers, and against a naive table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.epochs import EpochCache, EpochStart


def cache(*entries: tuple[int, int]) -> EpochCache:
    return EpochCache(EpochStart(*entry) for entry in entries)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (-1, (-1, -1)),  # no epoch at all
        (1, (1, 10)),  # before all that are known: where the log begins
        (2, (2, 20)),
        (3, (2, 20)),  # not known: the largest before it (KIP-279)
        (4, (4, 25)),
        (7, (7, 99)),  # the latest: the end of the log
        (8, (-1, -1)),  # younger than all: this log cannot know
    ],
)
def test_where_an_epoch_ended(asked: int, answer: tuple[int, int]) -> None:
    assert cache((2, 10), (4, 20), (7, 25)).end_offset_for(asked, 99) == answer


def test_an_empty_cache_knows_nothing() -> None:
    assert cache().end_offset_for(0, 99) == (-1, -1)
    assert cache().epoch_at(5) == -1
    assert cache().latest == -1


def test_assigning() -> None:
    epochs = cache((2, 10))
    assert epochs.assign(2, 15) is False, "a later start of the same epoch says nothing new"
    assert epochs.assign(4, 20) is True
    assert epochs.assign(5, 20) is True, "an epoch without records leaves no trace"
    assert epochs.entries == [(2, 10), (5, 20)]
    assert epochs.assign(3, 15) is True, "what is contradicted goes"
    assert epochs.entries == [(2, 10), (3, 15)]
    assert epochs.assign(3, 12) is True
    assert epochs.entries == [(2, 10), (3, 12)]
    assert epochs.assign(9, 0) is True
    assert epochs.entries == [(9, 0)]
    for wrong in ((-1, 0), (1, -1)):
        with pytest.raises(ValueError):
            epochs.assign(*wrong)


def test_which_epoch_an_offset_is_of() -> None:
    epochs = cache((2, 10), (4, 20))
    assert [epochs.epoch_at(offset) for offset in (9, 10, 19, 20, 99)] == [-1, 2, 2, 4, 4]


def test_cutting_the_end() -> None:
    epochs = cache((2, 10), (4, 20), (7, 25))
    assert epochs.truncate_end(26) is False
    assert epochs.truncate_end(25) is True
    assert (epochs.latest, epochs.entries) == (4, [(2, 10), (4, 20)])
    assert epochs.truncate_end(0) is True
    assert (epochs.latest, epochs.entries) == (-1, [])


def test_cutting_the_start() -> None:
    epochs = cache((2, 10), (4, 20), (7, 25))
    assert epochs.truncate_start(10) is False
    assert epochs.truncate_start(5) is False
    assert epochs.truncate_start(22) is True
    assert epochs.entries == [(4, 22), (7, 25)]
    assert epochs.truncate_start(25) is True
    assert epochs.entries == [(7, 25)]
    assert epochs.truncate_start(40) is True
    assert (epochs.latest, epochs.entries) == (7, [(7, 40)])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=12), st.integers(0, 40))
def test_against_a_table_of_every_offset(runs: list[tuple[int, int]], asked: int) -> None:
    epochs = EpochCache()
    table: list[int] = []
    epoch = 0
    for step, count in runs:
        epoch += step
        epochs.assign(epoch, len(table))
        table += [epoch] * count
    assert [epochs.epoch_at(offset) for offset in range(len(table))] == table
    found = epochs.end_offset_for(asked, len(table))
    if asked > table[-1]:
        assert found == (-1, -1)
    else:
        ended = [offset for offset, one in enumerate(table) if one > asked]
        floor = max((one for one in table if one <= asked), default=asked)
        assert found == (floor, ended[0] if ended else len(table))
