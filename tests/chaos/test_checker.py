"""The judge of histories, on histories small enough to be judged by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.checker import HistoryChecker, Verdict
from chaos.demo import exit_status
from chaos.view import Progress, Wait, live_view, progress_line, report_lines
from chaos.waits import WaitMeter
from chaos.workload import decode_number, encode_value, file_lines, standard_library
from kraft.client.cluster import Partition


@pytest.fixture
def checker() -> HistoryChecker:
    """Three records of two keys were sent to partition 0 and are acknowledged."""
    checker = HistoryChecker()
    for key, value in [(b"a", b"one"), (b"b", b"two"), (b"a", b"three")]:
        checker.sent(0, key, value)
    checker.acknowledged(0, 3)
    return checker


def counts(verdict: Verdict) -> tuple[int, int, int, int, int]:
    return verdict.lost, verdict.duplicated, verdict.reordered, verdict.altered, verdict.unacknowledged


def test_a_history_without_fault(checker: HistoryChecker) -> None:
    for offset, (number, key, value) in enumerate(
        [(0, b"a", b"one"), (1, b"b", b"two"), (2, b"a", b"three")]
    ):
        checker.read(0, offset, number, key, value)
    verdict = checker.verdict()
    assert counts(verdict) == (0, 0, 0, 0, 0)
    assert (verdict.sent, verdict.acknowledged, verdict.read) == (3, 3, 3)
    assert verdict.kept_its_word
    assert exit_status(verdict) == 0


def test_gaps_in_offsets_and_order_among_keys_do_not_matter(checker: HistoryChecker) -> None:
    checker.read(0, 4, 1, b"b", b"two")
    checker.read(0, 7, 0, b"a", b"one")
    checker.read(0, 8, 2, b"a", b"three")
    assert checker.verdict().kept_its_word


def test_an_acknowledged_record_that_is_not_there_is_lost(checker: HistoryChecker) -> None:
    checker.read(0, 0, 0, b"a", b"one")
    checker.read(0, 1, 2, b"a", b"three")
    verdict = checker.verdict()
    assert counts(verdict) == (1, 0, 0, 0, 0)
    assert verdict.examples == ("record 1 of partition 0 is lost",)
    assert exit_status(verdict) == 1


def test_an_unacknowledged_record_may_be_there_or_not() -> None:
    for read in (True, False):
        checker = HistoryChecker()
        number = checker.sent(0, b"a", b"one")
        if read:
            checker.read(0, 0, number, b"a", b"one")
        assert counts(checker.verdict()) == (0, 0, 0, 0, 0 if read else 1)
        assert exit_status(checker.verdict()) == 1, "the demonstration ends when all is acknowledged"


def test_one_record_at_two_offsets(checker: HistoryChecker) -> None:
    for offset, number in enumerate([0, 1, 2, 1]):
        checker.read(0, offset, number, b"ab"[number % 2 :][:1], [b"one", b"two", b"three"][number])
    assert counts(checker.verdict()) == (0, 1, 0, 0, 0)


def test_one_offset_twice(checker: HistoryChecker) -> None:
    checker.read(0, 0, 0, b"a", b"one")
    checker.read(0, 0, 1, b"b", b"two")
    checker.read(0, 1, 2, b"a", b"three")
    assert counts(checker.verdict()) == (1, 1, 0, 0, 0)


def test_order_within_a_key(checker: HistoryChecker) -> None:
    checker.read(0, 0, 2, b"a", b"three")
    checker.read(0, 1, 0, b"a", b"one")
    checker.read(0, 2, 1, b"b", b"two")
    assert counts(checker.verdict()) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("partition", "number", "key", "value"),
    [
        (0, 1, b"b", b"TWO"),
        (0, 1, b"a", b"two"),
        (1, 1, b"b", b"two"),
        (0, 9, b"b", b"two"),
        (0, -1, b"b", b"x"),
    ],
)
def test_what_was_not_sent_like_this(
    checker: HistoryChecker, partition: int, number: int, key: bytes, value: bytes
) -> None:
    checker.read(partition, 0, number, key, value)
    assert counts(checker.verdict()) == (3, 0, 0, 1, 0)


def test_more_cannot_be_acknowledged_than_was_sent(checker: HistoryChecker) -> None:
    with pytest.raises(ValueError, match="1 records acknowledged, 0 were sent to partition 0"):
        checker.acknowledged(0, 1)


def test_a_pause_counts_from_the_fault_to_the_next_acknowledgement() -> None:
    meter = WaitMeter()
    meter.sent(0, 1.0)
    meter.sent(0, 1.1)
    meter.acknowledged(0, 1, 2.0)
    meter.acknowledged(0, 1, 5.0)
    assert meter.longest([0], since=3.0) == 2.0
    assert meter.longest([0], since=3.0, until=4.5) == 1.5
    assert meter.longest([0], since=5.0) == 0.0
    assert meter.longest([1], since=3.0) == 0.0


def test_time_with_nothing_on_its_way_is_no_pause() -> None:
    meter = WaitMeter()
    meter.sent(0, 1.0)
    meter.acknowledged(0, 1, 1.5)
    meter.sent(0, 9.0)
    meter.acknowledged(0, 1, 9.25)
    assert meter.longest([0], since=1.2) == pytest.approx(0.3)
    assert meter.longest([0], since=1.6, until=8.0) == 0.0


def test_lines_of_a_file_have_a_key_for_a_thousand(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(b"x\r\n" * 1000 + b"\nlast")
    lines = list(file_lines(file))
    assert (lines[0].key, lines[0].text) == (b"log.txt:0", b"x")
    assert [(line.key, line.text) for line in lines[1000:]] == [(b"log.txt:1", b""), (b"log.txt:1", b"last")]


def test_the_standard_library_is_a_real_input() -> None:
    first = next(standard_library())
    assert first.key.endswith(b".py")


@pytest.mark.parametrize(("value", "number"), [(b"17\tx\ty", 17), (b"17", -1), (b"x\ty", -1), (b"", -1)])
def test_a_value_carries_its_number(value: bytes, number: int) -> None:
    assert decode_number(value) == number
    assert decode_number(encode_value(17, b"a\tb")) == 17


def rendered(progress: Progress) -> str:
    from rich.console import Console

    console = Console(width=80, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(live_view(progress))
    return capture.get()


def test_the_live_view_shows_partitions_and_the_last_events() -> None:
    progress = Progress(
        total=1000,
        sent=400,
        acknowledged=300,
        rate=5000,
        partitions=[Partition(0, 2, 7, (1, 2, 3), (2, 3), ()), Partition(1, -1, 3, (1,), (), ())],
        high_watermarks={0: 12345},
        events=[f"event {number}" for number in range(20)],
    )
    text = rendered(progress)
    assert "streaming 300 of 1,000 records   5,000/s" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "2", "7", "2,3", "12,345"] in rows
    assert ["1", "none", "3"] in rows
    assert "event 19" in text
    assert "event 11\n" not in text
    assert "acknowledged 300 of 1,000" in progress_line(progress)


def test_the_report_names_every_figure(checker: HistoryChecker) -> None:
    checker.read(0, 0, 1, b"b", b"forged")
    lines = report_lines(checker.verdict(), [Wait("leader 1 killed", 412.4)], 12.34)
    assert [line.split() for line in lines[:7]] == [
        ["sent", "3"],
        ["acknowledged", "3"],
        ["read", "1"],
        ["lost", "3"],
        ["duplicated", "0"],
        ["reordered", "0"],
        ["altered", "1"],
    ]
    assert "leader 1 killed: the producer waited 412 ms" in lines
    assert lines[-1] == "THE CLUSTER DID NOT KEEP ITS WORD, in 12.3 s"
