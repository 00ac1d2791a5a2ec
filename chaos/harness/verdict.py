"""What is said of a run at its end, in lines for people."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator

from chaos.anomalies import Judgement
from chaos.harness.picture import Scene
from chaos.harness.run import Run
from chaos.harness.schedule import Injury

OUTAGE = 1.0
"""Seconds without an answer that count as an outage of a partition."""


NOTICED_WITHIN = 2.0
"""Seconds after a recovery in which what happened before it may still be noticed: brokers may have asked a
controller that was silent."""


def failovers(scene: Scene) -> int:
    """How many faults took somebody's place away: a leader's or the active controller's."""
    return sum(_dethroned(injury, scene) for injury in scene.schedule.injuries)


def _dethroned(injury: Injury, scene: Scene) -> bool:
    end = time.monotonic() if injury.recovered is None else injury.recovered + NOTICED_WITHIN
    return any(injury.began <= election.at <= end for election in scene.watcher.elections)


def percentiles(latencies: Iterable[tuple[float, int]], *shares: float) -> list[float]:
    """The latency in seconds that each share (0 to 1) of the records stayed under; zeros without records."""
    ordered = sorted(latencies)
    total = sum(count for _, count in ordered)
    found, passed, index = [], 0, 0
    for share in shares:
        while index < len(ordered) and passed + ordered[index][1] < share * total:
            passed += ordered[index][1]
            index += 1
        found.append(ordered[index][0] if index < len(ordered) else 0.0)
    return found


def verdict_lines(run: Run, judgement: Judgement) -> Iterator[str]:
    """Figures, then what is wrong, then the last word."""
    scene, totals = run.scene, judgement.totals
    if run.failure is not None and not totals.sent:
        yield _last_word(run, judgement)
        return
    figures: list[tuple[str, int]] = [
        ("sent", totals.sent),
        ("acknowledged", totals.acknowledged),
        ("read", totals.read),
        ("transactions", totals.transactions),
        ("offset commits", totals.offset_commits),
    ]
    if scene is not None:
        figures += [
            ("faults", len(scene.schedule.injuries)),
            ("failovers", failovers(scene)),
            ("elections", len(scene.watcher.elections)),
        ]
    for name, count in figures:
        yield f"{name:<16}{count:>12,}"
    if scene is not None:
        yield from _by_library(run, scene)
        yield from _timing(scene)
    yield from judgement.lines()
    yield from run.differing
    yield from _complaints_of_logs(run)
    yield f"seed {run.options.seed}: {run.options.command}"
    yield _last_word(run, judgement)


def _by_library(run: Run, scene: Scene) -> Iterator[str]:
    """Names of clients end with their library's, and a number perhaps."""
    for library in run.options.libraries:
        counts = [each for name, each in scene.observations.clients.items() if library in name.split("-")]
        acknowledged, read = sum(each.acknowledged for each in counts), sum(each.read for each in counts)
        yield f"  {library:<14}{acknowledged:>12,} acknowledged {read:>12,} read"


def _timing(scene: Scene) -> Iterator[str]:
    latencies = [pair for second in scene.observations.seconds.values() for pair in second.latencies]
    if latencies:
        half, most, worst = percentiles(latencies, 0.5, 0.99, 1.0)
        yield f"acknowledged in {1000 * half:.0f} ms (half), {1000 * most:.0f} ms (99 %), {worst:.1f} s (all)"
    recoveries = [
        injury.recovered - injury.healed
        for injury in scene.schedule.injuries
        if injury.recovered is not None and injury.healed is not None
    ]
    if recoveries:
        yield (
            f"all in sync again after {statistics.median(recoveries):.1f} s (half of the faults), "
            f"{max(recoveries):.1f} s (all)"
        )
    outages = list(scene.observations.waits.longer_than(OUTAGE))
    yield f"a partition did not answer for more than {OUTAGE:.0f} s: {len(outages)} times"


def held(run: Run, judgement: Judgement) -> bool:
    """True only if the run came to its end, all was looked at, and nothing is wrong."""
    return judgement.held and not complaints(run) and unproven(run, judgement) is None


def complaints(run: Run) -> list[str]:
    """What is wrong beside the history."""
    return [*run.differing, *_complaints_of_logs(run)]


def _complaints_of_logs(run: Run) -> list[str]:
    return [f"tracebacks in the logs of {', '.join(run.tracebacks)}"] if run.tracebacks else []


def unproven(run: Run, judgement: Judgement) -> str | None:
    """Why nobody can say that it held, although nothing may be known to be wrong; None if one can."""
    if run.failure is not None:
        return run.failure
    if not judgement.totals.acknowledged:
        return "no record was acknowledged"
    if judgement.totals.not_read_back:
        return f"{judgement.totals.not_read_back} partitions were not read back"
    return None


def _last_word(run: Run, judgement: Judgement) -> str:
    if not judgement.held or run.differing:
        return "THE CLUSTER DID NOT KEEP ITS WORD"
    if run.tracebacks:
        return "NODES COMPLAINED OF THEMSELVES: their logs have tracebacks"
    reason = unproven(run, judgement)
    if reason is not None:
        return f"not finished: {reason}"
    return "it held: nothing lost, nothing doubled, nothing out of order"
