"""The parts of the demonstration: what it writes down, how it measures, and what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.anomalies import Anomaly
from chaos.demo import exit_status
from chaos.history import ALTERED
from chaos.producer_history import ProducerHistory
from chaos.view import Progress, Wait, live_view, progress_line, report_lines
from chaos.waits import WaitMeter
from chaos.workload import file_lines, standard_library
from kraft.client.cluster import Partition


@pytest.fixture
def history() -> ProducerHistory:
    """Three records were sent to partition 0 and are acknowledged, at offsets that are known of two."""
    history = ProducerHistory("p", "t", iter(range(1000)).__next__)
    assert [history.sent(0) for _ in range(3)] == [0, 1, 2]
    history.acknowledged(0, 1)
    history.acknowledged(0, 2, base_offset=1)
    return history


def test_a_history_without_fault(history: ProducerHistory) -> None:
    history.polled(0, [0, 1], [0, 1])
    history.polled(0, [2], [2])
    history.read_back(0, 3)
    judgement = history.judgement()
    assert judgement.held
    assert (judgement.totals.sent, judgement.totals.acknowledged, judgement.totals.read) == (3, 3, 3)
    assert exit_status(judgement) == 0


@pytest.mark.parametrize(
    ("read", "counts"),
    [
        ([(0, 0), (2, 2)], {Anomaly.LOST_WRITE: 1}),
        ([(1, 1), (2, 2)], {Anomaly.UNSEEN: 1}),
        ([(0, 0), (1, 1), (2, 2), (3, 0)], {Anomaly.DUPLICATE: 1}),
        ([(0, 0), (1, 1), (2, 2), (1, 1)], {Anomaly.INTERNAL_NONMONOTONIC_POLL: 1}),
        ([(1, 1), (2, 2), (3, 0)], {Anomaly.EXTERNAL_NONMONOTONIC_SEND: 1}),
        ([(0, 0), (1, 1), (2, 2), (3, ALTERED)], {Anomaly.ALTERED: 1}),
    ],
)
def test_a_history_with_a_fault(
    history: ProducerHistory, read: list[tuple[int, int]], counts: dict[Anomaly, int]
) -> None:
    history.polled(0, [offset for offset, _ in read], [number for _, number in read])
    history.read_back(0, 4)
    judgement = history.judgement()
    assert judgement.counts == counts
    assert exit_status(judgement) == 1
    assert judgement.lost + judgement.duplicated + judgement.reordered + judgement.count(Anomaly.ALTERED) == 1


def test_what_was_not_acknowledged_fails_the_demonstration_and_is_no_anomaly() -> None:
    history = ProducerHistory("p", "t", lambda: 0.0)
    history.sent(0)
    history.polled(0, [0], [0])
    history.read_back(0, 1)
    assert history.judgement().held
    assert exit_status(history.judgement()) == 1, "the demonstration ends when all is acknowledged"


def test_more_cannot_be_acknowledged_than_was_sent(history: ProducerHistory) -> None:
    for partition in (0, 1):
        text = f"1 records acknowledged, 0 were sent to partition {partition}"
        with pytest.raises(ValueError, match=text):
            history.acknowledged(partition, 1)


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


def test_the_report_names_every_figure(history: ProducerHistory) -> None:
    history.polled(0, [0], [ALTERED])
    history.read_back(0, 3)
    lines = report_lines(history.judgement(), [Wait("leader 1 killed", 412.4)], 12.34)
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
    assert "  t-0 at offset 0 holds a value that is not as anything was sent" in lines
    assert lines[-1] == "THE CLUSTER DID NOT KEEP ITS WORD, in 12.3 s"
