"""The simulations there are, from the quorum alone to the whole cluster, and how their seeds are run."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from chaos import simulation
from chaos.cluster.mutants import MUTANTS as CLUSTER_MUTANTS
from chaos.cluster.plan import Plan
from chaos.planting import MisfitError, Mutant, fits
from chaos.quorum.mutants import MUTANTS as QUORUM_MUTANTS
from chaos.quorum.simulation import run_history as run_quorum_history
from chaos.replication.mutants import MUTANTS as REPLICATION_MUTANTS
from chaos.replication.simulation import run_history as run_replication_history
from kraft.huge_pages import gather_heap

CHUNK = 32
"""Histories that a process runs before another takes its place: its memory goes with it, so that the
collector need never look at what so many histories leave behind."""
WORTH_GATHERING = 16
"""So many histories in a process make up for the tenth of a second that huge pages take."""


class Outcome(Protocol):
    """What a history came to."""

    @property
    def seed(self) -> int: ...
    @property
    def problem(self) -> str | None:
        """None if everything held."""

    @property
    def trace(self) -> int:
        """The same in every process that runs the seed."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One simulation and the bugs that it has to find."""

    what: str
    run: Callable[[int, Mutant | None], Outcome]
    mutants: Mapping[str, Mutant]
    heavy: bool = False
    """Whether histories take so long that looking for pages is a part of it (see `kraft.huge_pages`)."""


def _run_quorum(seed: int, mutant: Mutant | None) -> Outcome:
    return run_quorum_history(seed, None if mutant is None else mutant.nodes)


def _run_replication(seed: int, _mutant: Mutant | None) -> Outcome:
    return run_replication_history(seed)


def _run_cluster(seed: int, _mutant: Mutant | None) -> Outcome:
    return simulation.run_history(seed)


LAYERS: Mapping[str, Layer] = {
    "cluster": Layer(
        "controllers, brokers and clients, as they ship", _run_cluster, CLUSTER_MUTANTS, heavy=True
    ),
    "replication": Layer(
        "partitions and the controller, the cores alone", _run_replication, REPLICATION_MUTANTS
    ),
    "quorum": Layer("the controllers' quorum alone", _run_quorum, QUORUM_MUTANTS),
}


def run_seeds(layer: str, first: int, count: int, jobs: int) -> Iterator[Outcome]:
    """Run so many seeds from `first` on, in processes of their own; what they came to, in their order."""
    yield from _run(layer, None, first, count, jobs)


def find(layer: str, mutant: str, first: int, count: int, jobs: int) -> Outcome | None:
    """The first of these seeds that fails while a bug is planted; None if all pass. Raises MisfitError."""
    for outcome in _run(layer, mutant, first, count, jobs):
        if outcome.problem is not None:
            if not fits(outcome.problem):
                raise MisfitError(
                    f"{mutant} does not fit the code: seed {outcome.seed} came to {outcome.problem}"
                )
            return outcome
    return None


def _run(layer: str, mutant: str | None, first: int, count: int, jobs: int) -> Iterator[Outcome]:
    size = max(1, min(CHUNK, count // jobs))
    chunks = [range(start, min(start + size, first + count)) for start in range(first, first + count, size)]
    with multiprocessing.get_context("fork").Pool(jobs, _settle, maxtasksperchild=1) as pool:
        for outcomes in pool.imap(partial(_run_chunk, layer, mutant), chunks):
            yield from outcomes


def run_plan_aside(plan: Plan) -> simulation.HistoryResult:
    """Run one history of the cluster in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1, _settle) as pool:
        return pool.apply(simulation.run_plan, (plan,))


def _settle() -> None:
    """A process that runs histories: quiet, and without the collector."""
    logging.getLogger("kraft").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    leave_the_dead_alone()
    gc.disable()


def leave_the_dead_alone() -> None:
    """From now on nobody hears of what goes wrong when that is thrown away which dead processes left."""
    sys.unraisablehook = _unheard


def _unheard(_: object) -> None:
    """See `leave_the_dead_alone`."""


def _run_chunk(layer: str, mutant: str | None, seeds: range) -> list[Outcome]:
    """With a bug planted, up to the first history that fails."""
    definition = LAYERS[layer]
    if definition.heavy and len(seeds) >= WORTH_GATHERING:
        gather_heap()
    if mutant is None:
        return [definition.run(seed, None) for seed in seeds]
    outcomes = []
    planted = definition.mutants[mutant]
    with planted.applied():
        for seed in seeds:
            outcomes.append(definition.run(seed, planted))
            if outcomes[-1].problem is not None:
                break
    return outcomes
