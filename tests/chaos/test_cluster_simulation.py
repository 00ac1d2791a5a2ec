"""Histories of a whole cluster, the bugs that they have to find, and the ones that found something once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chaos.__main__ import app
from chaos.cluster.climate import draw_climate
from chaos.cluster.mutants import MUTANTS
from chaos.cluster.nodes import NodeProcess
from chaos.cluster.plan import Plan
from chaos.layers import find, leave_the_dead_alone, run_seeds
from chaos.simulation import TOPIC, History
from kafkawire.errors import ErrorCode, KafkaError
from replication.partition import Partition

HISTORIES = 500
CHUNK = 25

REGRESSIONS = {
    10009: "a controller committed on top of what it had failed to sync, and lost both with the power",
    10065: "the same, sooner",
    10155: "the same, in another cluster",
}
"""Seeds that a fault was found with. A change of the simulation moves them on to other histories; keep them
none the less, they are histories too."""

FIRST_SEEDS: dict[str, int] = {
    "namesake-checkpoints": 65,
    "rot-served": 195,
    "sequence-gap-accepted": 730,
    "unclean-stop-keeps-isr": 65,
}
"""Where to begin to look for a bug that only few histories betray."""

RESETS = 10
PAUSES = 8

FIRST_BATCH = " log renewed-0 at=1 0 epoch=0"
"""What a trace says when a broker has the first records of a topic that is renewed."""


def chaos(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "COLUMNS": "200", "NO_COLOR": "1"},
    )


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_no_history_breaks_an_invariant_or_shows_an_anomaly(first: int) -> None:
    failed = [
        outcome for outcome in run_seeds("cluster", first, CHUNK, jobs=1) if outcome.problem is not None
    ]
    assert failed == []


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_failed_once_holds_now(seed: int) -> None:
    (outcome,) = run_seeds("cluster", seed, 1, jobs=1)
    assert outcome.problem is None


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_planted_bug_is_found(mutant: str) -> None:
    found = find("cluster", mutant, FIRST_SEEDS.get(mutant, 0), 60, jobs=1)
    assert found is not None, f"the simulation does not notice: {MUTANTS[mutant].description}"
    (without,) = run_seeds("cluster", found.seed, 1, jobs=1)
    assert without.problem is None


def test_a_cluster_that_takes_no_record_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With faults a writer may give up; a mended cluster, or one that nothing hurts, has no excuse."""
    append = Partition.append

    def refuse_orders(partition: Partition, *args: Any, **options: Any) -> Any:
        if partition.topic == TOPIC:
            raise KafkaError(ErrorCode.INVALID_RECORD)
        return append(partition, *args, **options)

    monkeypatch.setattr(Partition, "append", refuse_orders)
    calm = next(seed for seed in range(100) if not draw_climate(Plan(seed).chance("climate")).every)
    rough = next(seed for seed in range(100) if draw_climate(Plan(seed).chance("climate")).every)
    problems = [next(run_seeds("cluster", seed, 1, jobs=1)).problem for seed in (calm, rough)]
    assert [problem is not None and problem.partition(",")[0] for problem in problems] == [
        "ViolationError: nothing failed",
        "KafkaError: INVALID_RECORD: orders-0: INVALID_RECORD",
    ]


def test_a_history_is_the_same_in_every_process() -> None:
    said = {
        chaos("sim", "--seed", "40", "--histories", "6", hash_seed=hash_seed).stdout.rsplit(",", 2)[0]
        for hash_seed in ("0", "1", "4711")
    }
    assert len(said) == 1, said
    assert "6 histories, 0 failed, trace " in said.pop()


def test_a_trace_has_a_line_for_what_happens() -> None:
    ran = chaos("sim", "--seed", "2", "--trace")
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert any(" fault " in line for line in lines)
    assert any(" commit orders-0 by=" in line for line in lines)
    assert any("node-1 broker.registered" in line for line in lines)
    assert "held" in lines[-1]


def test_a_trace_ends_quietly_when_its_reader_has_enough() -> None:
    command = [sys.executable, "-m", "chaos", "sim", "--seed", "2", "--trace"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"Shape(" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == -signal.SIGPIPE


def test_topics_are_deleted_and_created_anew_in_some_histories() -> None:
    began = [
        [line for line in chaos("sim", "--seed", seed, "--trace").stdout.splitlines() if FIRST_BATCH in line]
        for seed in ("15", "16")
    ]
    assert len(began[0]) > 2, "an incarnation begins at offset 0, with leader epoch 0"
    assert not began[1], "most histories have no such topic"


def test_what_is_left_out_does_not_happen() -> None:
    ran = chaos("sim", "--seed", "2", "--trace", "--without", "kill,writer-0")
    assert ran.returncode == 0
    assert " fault kill#" not in ran.stdout


def idle(seed: int) -> History:
    """A cluster that serves, without clients or faults."""
    history = History(Plan(seed))
    for machine in history._machines.values():
        machine.start()
    history._await("the cluster does not come up", 30.0, history._serves)
    return history


def active_controller(history: History) -> NodeProcess:
    processes = [machine.process for machine in history._machines.values() if machine.process is not None]
    return next(each for each in processes if each.member is not None and each.member.service.active)


def fencings_after_resets() -> int:
    """How often a broker is fenced whose link to the active controller is reset again and again, no more."""
    history = idle(0)
    fencings = 0
    for _ in range(RESETS):
        history._pass(1.137)  # at another time since the last heartbeat with each
        before = history.image.brokers
        history._streams.reset(1, active_controller(history).node_id)
        history._pass(1.0)
        fencings += history.image.brokers is not before
    return fencings


def fencings_while_the_controller_is_paused() -> int:
    """How often brokers are fenced when the only controller is paused, links and all."""
    return fencings_by_pauses(0)


def fencings_while_one_of_three_controllers_is_paused() -> int:
    """The same of the active one of three."""
    return fencings_by_pauses(5)


def fencings_by_pauses(seed: int) -> int:
    history = idle(seed)
    fencings = 0
    for _ in range(PAUSES):
        history._pass(1.137)
        before = history.image.brokers
        active = active_controller(history)
        active.loop.pause()
        history._pass(8.0)
        active.loop.resume()
        history._pass(2.0)
        fencings += history.image.brokers is not before
    return fencings


def records_missed_behind_a_controller_that_is_cut_off() -> int:
    """How many records of the metadata a broker does not hear of, which can reach every controller, while one
    of them reaches none of the others."""
    history = idle(5)
    active = active_controller(history).node_id
    missed = 0
    for cut_off in sorted({101, 102, 103} - {active}):
        history._streams.reset(1, active)  # it may turn to any other one
        history._pass(2.0)
        for other in sorted({101, 102, 103} - {cut_off}):
            history._streams.cut(cut_off, other)
            history._streams.cut(other, cut_off)
        history._pass(2.0)
        history._machines[2].process.loop.pause()  # type: ignore[union-attr]
        history._pass(6.0)
        broker = history._machines[1].process.broker  # type: ignore[union-attr]
        missed += history.image.offset - broker.metadata.image.offset  # type: ignore[union-attr]
        history._machines[2].process.loop.resume()  # type: ignore[union-attr]
        history._streams.mend_all()
        history._pass(5.0)
    return missed


@pytest.mark.parametrize(
    "harm",
    [
        fencings_after_resets,
        fencings_while_the_controller_is_paused,
        fencings_while_one_of_three_controllers_is_paused,
        records_missed_behind_a_controller_that_is_cut_off,
    ],
)
def test_little_is_lost_of_a_controller(harm: Callable[[], int]) -> None:
    with multiprocessing.get_context("fork").Pool(1, leave_the_dead_alone) as pool:
        assert pool.apply(harm) == 0


@pytest.mark.parametrize("option", [("sim", "--seed"), ("mutants", "--first")])
@pytest.mark.parametrize("seed", ["seven", "", "-1", "1.5", "0x10", "1" * 19])
def test_a_seed_that_is_no_number_is_one_line(option: tuple[str, str], seed: str) -> None:
    ran = CliRunner().invoke(app, [*option[:1], f"{option[1]}={seed}"])
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert ran.stderr == f"error: {option[1]} {seed}: is not a whole number from 0 on\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("sim", "--layer", "nothing"), "'nothing' is none of cluster, replication, quorum"),
        (("sim", "--histories", "0"), "'--histories'"),
        (("sim", "--trace", "--histories", "3"), "for one history"),
        (("mutants", "--only", "nothing"), "'nothing' is neither a planted bug nor a layer"),
    ],
)
def test_bad_input_is_named_in_a_line(arguments: tuple[str, ...], complaint: str) -> None:
    ran = chaos(*arguments)
    assert ran.returncode == 2
    assert complaint in " ".join(ran.stderr.replace("│", " ").split())
    assert "Traceback" not in ran.stderr
