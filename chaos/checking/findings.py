"""What a judge of histories looks for, and what it says in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

EXAMPLES = 5
"""How many anomalies of a kind are described; all are counted."""


class Anomaly(Enum):
    """What must not happen, whatever fails; named as in Jepsen's Kafka workload where that has a name."""

    LOST_WRITE = "lost write"
    """Acknowledged, and not there when its partition was read past its offset; or read, and gone at last."""
    UNSEEN = "unseen"
    """Acknowledged, at an unknown offset or past the end of what was there at last, and never read."""
    INCONSISTENT_OFFSET = "inconsistent offset"
    """One offset, two records."""
    DUPLICATE = "duplicate"
    """One record, two offsets."""
    ALTERED = "altered"
    """A value that nobody sent, or that nobody sent there."""
    ABORTED_READ = "aborted read"
    """G1a: read committed of a record of an aborted transaction, or any read of a record that was refused."""
    UNCOMMITTED_READ = "uncommitted read"
    """Read committed of a record before its producer, the reader itself perhaps, asked for the commit."""
    INTERNAL_POLL_SKIP = "internal poll skip"
    """Within one poll a record is left out that was there."""
    EXTERNAL_POLL_SKIP = "external poll skip"
    """Between two polls of one assignment a record is left out that was there."""
    INTERNAL_NONMONOTONIC_POLL = "internal non-monotonic poll"
    """Within one poll offsets go back."""
    EXTERNAL_NONMONOTONIC_POLL = "external non-monotonic poll"
    """Between two polls of one assignment offsets go back."""
    INTERNAL_NONMONOTONIC_SEND = "internal non-monotonic send"
    """Within one transaction a later record of a client has a lower offset in the same partition."""
    EXTERNAL_NONMONOTONIC_SEND = "external non-monotonic send"
    """A later acknowledged record of a client has a lower offset in the same partition."""
    READ_CYCLE = "read cycle"
    """G1c: transactions that have read from each other in a circle."""
    LOST_COMMIT = "lost commit"
    """A group was told of an offset although a later commit was acknowledged before it asked."""
    COPIED_TWICE = "copied twice"
    """Two committed copies of one record in one topic."""
    NOT_COPIED = "not copied"
    """A transaction committed an offset past a record, and no transaction of that group copied it."""


REORDERED = (
    Anomaly.INTERNAL_NONMONOTONIC_SEND,
    Anomaly.EXTERNAL_NONMONOTONIC_SEND,
    Anomaly.INTERNAL_NONMONOTONIC_POLL,
    Anomaly.EXTERNAL_NONMONOTONIC_POLL,
)


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there was to judge. A record that several consumers read counts once in `read`."""

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    read: int = 0
    polled: int = 0
    unjudged: int = 0
    """Acknowledged, not read, and nobody looked: there was no final read-back."""
    not_read_back: int = 0
    """Partitions that no final consumer has read."""
    transactions: int = 0
    committed: int = 0
    aborted: int = 0
    offset_commits: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of a history: how often each anomaly was found, the first few of each kind described."""

    counts: Mapping[Anomaly, int]
    totals: Totals
    examples: Mapping[Anomaly, tuple[str, ...]]

    @property
    def held(self) -> bool:
        """True if nothing happened that must not."""
        return not any(self.counts.values())

    @property
    def lost(self) -> int:
        """Records that were acknowledged and are not there."""
        return self.count(Anomaly.LOST_WRITE, Anomaly.UNSEEN)

    @property
    def duplicated(self) -> int:
        """Records that are there twice."""
        return self.count(Anomaly.DUPLICATE, Anomaly.COPIED_TWICE)

    @property
    def reordered(self) -> int:
        """Records that come in another order than that of their sending, or of their offsets."""
        return self.count(*REORDERED)

    def count(self, *kinds: Anomaly) -> int:
        """How often any of `kinds` was found."""
        return sum(self.counts.get(kind, 0) for kind in kinds)

    def lines(self) -> list[str]:
        """The anomalies for people, the commonest first, each with its examples; empty if there is none."""
        lines = []
        for kind, count in sorted(self.counts.items(), key=lambda item: -item[1]):
            lines.append(f"{kind.value}: {count:,}")
            lines += [f"  {example}" for example in self.examples.get(kind, ())]
        return lines


@dataclass(slots=True)
class Findings:
    """Anomalies as they are found."""

    counts: Counter[Anomaly] = field(default_factory=Counter)
    examples: dict[Anomaly, list[str]] = field(default_factory=dict)

    def note(self, kind: Anomaly, text: str, *details: object) -> None:
        """Count one more; `text` is a format for `details`, filled in for the first few only."""
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(text.format(*details))

    def copy(self) -> Findings:
        """Findings of their own, to be added to."""
        return Findings(Counter(self.counts), {kind: list(each) for kind, each in self.examples.items()})

    def judgement(self, totals: Totals) -> Judgement:
        """What was found so far, as a value."""
        examples = {kind: tuple(each) for kind, each in self.examples.items()}
        return Judgement(dict(self.counts), totals, examples)
