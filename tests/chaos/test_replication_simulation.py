"""Histories of replicated partitions, and the rules of replication taken away one by one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chaos import replication_simulation
from chaos.replication_mutants import MUTANTS
from chaos.replication_simulation import find_violation, run_histories, run_history

CHUNK = 50

FIRST_SEEDS = {
    "lost-answer-is-a-refusal": 40,
    "no-broker-epoch-check": 85,
    "acknowledge-before-sync": 95,
    "shrink-before-metadata": 1070,
}
"""Where to begin to look for a mutant that few histories betray."""


@pytest.mark.parametrize("first", range(0, 400, CHUNK))
def test_no_history_breaks_an_invariant(first: int) -> None:
    assert run_histories(first, CHUNK) == []


def test_histories_differ_and_do_something() -> None:
    results = [run_history(seed) for seed in range(400, 410)]
    assert len({result.trace for result in results}) == len(results)
    assert sum(result.acknowledged for result in results) > 100


def test_one_seed_is_one_history_whatever_the_hash_seed() -> None:
    script = "from chaos.replication_simulation import run_history; print(run_history(7).trace)"
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
    assert find_violation(mutant, FIRST_SEEDS.get(mutant, 0), 150) is not None


def test_a_mutant_is_gone_afterwards() -> None:
    assert find_violation("acknowledge-before-isr", 0, 5) is not None
    assert run_histories(0, 5) == []


def test_a_failing_seed_is_printed_with_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    with MUTANTS["acknowledge-before-isr"].applied():
        assert replication_simulation.main(["--seed", "0", "--histories", "1"]) == 1
    out = capsys.readouterr().out
    assert "ViolationError" in out
    assert "python -m chaos.replication_simulation --seed 0 --trace" in out


def test_a_trace_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert replication_simulation.main(["--seed", "3", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(" ack p0 " in line for line in lines)
    assert "problem=None" in lines[-1]
