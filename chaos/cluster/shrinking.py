"""Makes a failing history smaller: leaves out faults and clients for as long as it fails the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    shorter = replace(plan, length=max(0.5, min(plan.length, result.length)))
    for candidates in ([shorter], _leaving_out(plan, result.kinds), None, None):
        tries = _leaving_out(plan, (*result.clients, *result.faults)) if candidates is None else candidates
        for candidate in tries:
            smaller = replace(plan, without=plan.without | candidate.without, length=candidate.length)
            attempt = run(smaller)
            if attempt.problem is not None and _kind(attempt) == kind:
                plan, result = smaller, attempt
                tell(plan)
    return plan, result


def _leaving_out(plan: Plan, names: Iterable[str]) -> list[Plan]:
    return [plan.less(name) for name in names]


def _kind(result: HistoryResult) -> str:
    """What kind of failure it is: which error, or which anomalies."""
    return (result.problem or "").split(":", 1)[0]
