"""Histories of replicated partitions, and the rules of replication taken away one by one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

from chaos.layers import find, run_seeds
from chaos.replication.mutants import MUTANTS
from chaos.replication.simulation import run_history
from chaos.simulation_command import sim

HISTORIES = 1000
CHUNK = 100

REGRESSIONS = {
    3661: "a smaller ISR counted before the min.insync.replicas by which the controller had judged it",
    13296: "the same of an ISR that grew, and was enough by the old setting alone",
}
"""Seeds that a fault was found with."""

FIRST_SEEDS = {
    "lost-answer-is-a-refusal": 40,
    "no-broker-epoch-check": 85,
    "acknowledge-before-sync": 260,
    "shrink-before-metadata": 1070,
}
"""Where to begin to look for a mutant that few histories betray."""


def failures(first: int, count: int) -> list[object]:
    return [each for each in run_seeds("replication", first, count, jobs=1) if each.problem is not None]


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_no_history_breaks_an_invariant(first: int) -> None:
    assert failures(first, CHUNK) == []


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_failed_once_holds_now(seed: int) -> None:
    assert run_history(seed).problem is None


def test_histories_differ_and_do_something() -> None:
    results = [run_history(seed) for seed in range(400, 410)]
    assert len({result.trace for result in results}) == len(results)
    assert sum(result.acknowledged for result in results) > 100


def test_one_seed_is_one_history_whatever_the_hash_seed() -> None:
    script = "from chaos.replication.simulation import run_history; print(run_history(7).trace)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "1")
    }
    assert traces == {str(run_history(7).trace)}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_the_simulation_notices_a_missing_rule(mutant: str) -> None:
    """Each rule of replication, taken away, breaks an invariant within few histories."""
    assert find("replication", mutant, FIRST_SEEDS.get(mutant, 0), 150, jobs=1) is not None


def test_a_mutant_is_gone_afterwards() -> None:
    with MUTANTS["acknowledge-before-isr"].applied():
        assert any(run_history(seed).problem for seed in range(5))
    assert not any(run_history(seed).problem for seed in range(5))


def test_a_failing_seed_is_printed_with_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    with MUTANTS["acknowledge-before-isr"].applied(), pytest.raises(typer.Exit) as exit_:
        sim(seed="0", layer="replication")
    assert exit_.value.exit_code == 1
    out = capsys.readouterr().out
    assert "ViolationError" in out
    assert "python -m chaos sim --layer replication --seed 0" in out


def test_a_trace_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_history(3, printed=True).problem is None
    assert any(" ack t-0 " in line for line in capsys.readouterr().out.splitlines())
