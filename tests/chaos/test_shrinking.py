"""A failing history is made smaller, and fails the same way."""

from __future__ import annotations

import pytest

from chaos.cluster.plan import LENGTH, Plan
from chaos.cluster.shrinking import shrink
from chaos.simulation import HistoryResult

FAULTS = ("kill#0", "pause#0", "pause#1", "cut#0")
CLIENTS = ("writer-0", "reader-1")


def came_to(plan: Plan, problem: str | None, length: float = 12.0) -> HistoryResult:
    """What a plan came to, as far as it still has its faults and clients."""
    faults = tuple(each for each in FAULTS if plan.has(each) and plan.has(each.split("#")[0]))
    return HistoryResult(plan.seed, problem, 0, 0, 0, length, faults, tuple(filter(plan.has, CLIENTS)))


def needing(*names: str, otherwise: str | None = None) -> tuple[Plan, HistoryResult]:
    """Shrink a history that needs these to lose a write, within twelve seconds; what comes without them."""

    def run(plan: Plan) -> HistoryResult:
        result = came_to(plan, None)
        there = all(name in (*result.faults, *result.clients) for name in names) and plan.length >= 12.0
        return result._replace(problem="anomalies: lost write: 1;   why" if there else otherwise)

    return shrink(Plan(1), run, lambda _: None)


def test_what_it_does_not_need_is_left_out_and_it_stays_as_short_as_it_was_made() -> None:
    plan, result = needing("pause#1", "writer-0")
    assert (result.faults, result.clients) == (("pause#1",), ("writer-0",))
    assert plan.length == 12.0 < LENGTH
    assert plan.arguments() == "--seed 1 --without cut,kill,pause#0,reader-1 --length 12"


@pytest.mark.parametrize("other", ["anomalies: not copied: 1;   why", "ViolationError: why"])
def test_another_failure_is_not_the_same(other: str) -> None:
    _, result = needing("kill#0", "writer-0", otherwise=other)
    assert (result.faults, result.clients) == (("kill#0",), ("writer-0",))


def test_what_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="seed 1 does not fail"):
        shrink(Plan(1), lambda plan: came_to(plan, None), lambda _: None)
