"""What people see of a trial: the live picture, the plain lines, the figures at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from chaos.anomalies import check
from chaos.harness.account import run_record
from chaos.harness.command import RunText, parse_options
from chaos.harness.interruptions import Interruptions
from chaos.harness.journal import parse_line
from chaos.harness.observations import Observations
from chaos.harness.picture import Scene, picture, status_line
from chaos.harness.run import Run
from chaos.harness.schedule import Injury, Schedule
from chaos.harness.trial import judge, keep_evidence
from chaos.harness.verdict import failovers, held, verdict_lines
from chaos.harness.watcher import CONTROLLER, Election, Watcher
from chaos.history import Event, Outcome, Polled, Read, ReadBack, Sent, Settled
from chaos.history_file import read_history
from chaos.report import Verdict, verdict_of
from kraft.client.cluster import Cluster, Partition


@pytest.fixture
def scene() -> Scene:
    observations = Observations()
    for line in (
        "S 100.5 t 0 1 0 10 -1 -1",
        "D 100.75 a 0 10 0",
        "S 101.0 t 1 1 10 10 -1 -1",
        "D 103.5 u 10 10 -1",
        "P 100.9 1 1 -1 t,0,0,0,10",
    ):
        observations.take("producer-kraft", parse_line(line))
    watcher = Watcher(Cluster("127.0.0.1:1"))
    watcher.controller = 101
    watcher.partitions = {("t", 0): Partition(0, 2, 5, (1, 2, 3), (2, 3), ())}
    watcher.elections = [Election(101.0, CONTROLLER, 102, 101, 7), Election(110.0, "t-0", 1, 2, 5)]
    schedule = Schedule(cast(Any, None), ["kill"], seed=1, every=5.0)
    schedule.injuries = [
        Injury("kill", 100.9, "node 102, the active controller", [102], 103.0, 104.5),
        Injury("pause", 105.0, "node 3, a leader", [3]),
    ]
    schedule.present = "pause: node 3, a leader"
    return Scene(100.0, 20, observations, watcher, schedule, "hurting")


def test_the_picture_shows_what_is_broken_and_what_flows(scene: Scene) -> None:
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(scene, 101.5))
    shown = console.export_text()
    console.file.close()
    for text in (
        "hurting  2 s   pause: node 3, a leader",
        "acknowledged 10 of 20 at 10/s   read 10 at 10/s",
        "controller 101   leaders 2: 1   not in sync 1",
        "producer-kraft",
        "0.9 s  kill: node 102, the active controller, undone after 2.1 s, in sync after 1.5 s more",
        "1.0 s  controller 102 → 101",
        "10.0 s  leader of t-0 1 → 2",
    ):
        assert text in shown, shown


def test_without_a_terminal_it_is_a_line(scene: Scene) -> None:
    assert status_line(scene, 101.5) == (
        "    1.5 s  hurting  acknowledged 10 of 20 (10/s)  read 10 (10/s)  faults 2  elections 2"
    )


def test_a_fault_during_which_somebody_else_took_over_is_a_failover(scene: Scene) -> None:
    scene.schedule.injuries[1].recovered = 107.5
    assert failovers(scene) == 1
    scene.schedule.injuries[1].recovered = 108.5
    assert failovers(scene) == 2


def test_the_figures_end_with_the_command_and_the_verdict(scene: Scene, tmp_path: Path) -> None:
    text = RunText("3+3", "kill,pause", "1m", "8s", "7", "produce", None)
    run = Run(parse_options(text, None, tmp_path / "out", keep=False), tmp_path, Console(), scene)
    scene.schedule.injuries[1].recovered = 109.0
    run.tracebacks = ["broker-1"]
    judgement = check(READ_BACK)
    *_, traceback, command, word = verdict_lines(run, judgement)
    assert traceback == "tracebacks in the logs of broker-1"
    assert command == (
        "seed 7: python -m chaos run --nodes 3+3 --nemesis kill,pause --for 1m --every 8s --seed 7 "
        "--records 30000 --workload produce"
    )
    assert word.startswith("NODES COMPLAINED")
    run.tracebacks = []
    assert [*verdict_lines(run, judgement)][-1].startswith("it held")
    run.differing = ["t-0 of broker-1 and broker-2 differ at byte 4"]
    *lines, word = verdict_lines(run, judgement)
    assert word == "THE CLUSTER DID NOT KEEP ITS WORD"
    assert run.differing[0] in lines


READ_BACK = [
    Sent("p", 0.0, 1, "t", 0, 0),
    Settled("p", 0.0, 1, Outcome.ACKNOWLEDGED, 0),
    Polled("c", 0.0, 0, (Read("t", 0, 0, 1),)),
    ReadBack("c", 0.0, "t", 0, 1),
]


@pytest.mark.parametrize(
    ("how", "events", "verdict", "said"),
    [
        ({}, READ_BACK, Verdict.HELD, "it held"),
        ({"failure": "interrupted"}, READ_BACK, Verdict.INTERRUPTED, "not finished: interrupted"),
        ({}, READ_BACK[:-1], Verdict.INTERRUPTED, "not finished: 1 partitions were not read back"),
        ({}, READ_BACK[:1], Verdict.INTERRUPTED, "not finished: no record was acknowledged"),
        ({"differing": ["t-0 differs"]}, READ_BACK, Verdict.BROKEN, "THE CLUSTER DID NOT KEEP ITS WORD"),
        ({"tracebacks": ["broker-1"]}, READ_BACK, Verdict.BROKEN, "NODES COMPLAINED OF THEMSELVES"),
        ({}, READ_BACK[:2] + READ_BACK[3:], Verdict.BROKEN, "THE CLUSTER DID NOT KEEP ITS WORD"),
    ],
)
def test_only_what_was_looked_at_held_in_the_report_as_in_the_last_line(
    how: dict[str, Any], events: list[Event], verdict: Verdict, said: str, tmp_path: Path
) -> None:
    text = RunText("3+3", "kill", "1m", "8s", "7", "produce", None)
    run = Run(parse_options(text, None, tmp_path / "out", keep=False), tmp_path, Console(), **how)
    judgement = check(events)
    assert [*verdict_lines(run, judgement)][-1].startswith(said)
    assert verdict_of(run_record(run, judgement))[0] is verdict
    assert held(run, judgement) == (verdict is Verdict.HELD)


def test_what_shows_that_it_did_not_hold_is_kept(tmp_path: Path) -> None:
    clients, nodes = tmp_path / "data" / "clients", tmp_path / "data" / "nodes"
    clients.mkdir(parents=True)
    nodes.mkdir()
    (nodes / "broker-1.log").write_text("all is well")
    journal = clients / "producer-kraft.journal"
    journal.write_text("S 1.0 t 0 1 0 1 -1 -1\nD 2.0 a 0 1 0\n")
    (clients / "read-back.journal").write_text("R 3.0 t 0 1\n")
    text = RunText("3+3", "kill", "1m", "8s", "7", "produce", None)
    run = Run(parse_options(text, None, tmp_path / "out", keep=False), tmp_path / "data", Console())
    run.journals = [journal, clients / "read-back.journal"]
    judgement = judge(run, Interruptions())
    assert [kind.value for kind in judgement.counts] == ["lost write"]
    assert [*verdict_lines(run, judgement)][-1] == "THE CLUSTER DID NOT KEEP ITS WORD"
    keep_evidence(run, tmp_path / "evidence")
    kept = {path.name for path in (tmp_path / "evidence").iterdir()}
    assert kept == {"broker-1.log", "producer-kraft.journal", "read-back.journal", "history.jsonl"}
    assert check(read_history(tmp_path / "evidence" / "history.jsonl")).counts == judgement.counts
