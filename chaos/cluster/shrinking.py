"""Makes a failing history smaller: leaves out faults and clients for as long as it fails the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chaos.cluster.plan import Plan
from chaos.simulation import HistoryResult

Run = Callable[[Plan], HistoryResult]


def shrink(plan: Plan, run: Run, tell: Callable[[Plan], None]) -> tuple[Plan, HistoryResult]:
    """The smallest history that was found, and what it came to; `tell` hears of every step.

    Raises ValueError if the plan does not fail at all.
    """
    result = run(plan)
    if result.problem is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    kind = _kind(result)
    for step in (_shorter, _without_kinds, _without_each, _without_each):
        for candidate in step(plan, result):
            smaller = replace(candidate, without=plan.without | candidate.without)
            attempt = run(smaller)
            if attempt.problem is not None and _kind(attempt) == kind:
                plan, result = smaller, attempt
                tell(plan)
    return plan, result


def _shorter(plan: Plan, result: HistoryResult) -> list[Plan]:
    return [replace(plan, length=max(0.5, min(plan.length, result.length)))]


def _without_kinds(plan: Plan, result: HistoryResult) -> list[Plan]:
    return [plan.less(kind) for kind in result.kinds]


def _without_each(plan: Plan, result: HistoryResult) -> list[Plan]:
    return [plan.less(name) for name in (*result.clients, *result.faults)]


def _kind(result: HistoryResult) -> str:
    """What kind of failure it is: which error, or which anomaly before all others."""
    error, _, text = (result.problem or "").partition(":")
    return f"{error}:{text.partition(':')[0]}" if error == "anomalies" else error
