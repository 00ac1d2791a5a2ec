"""The judge of a history: what was sent, acknowledged and read, and what must not have happened.

Pure and incremental. A record has an identity (its number), a key and a value; the checker keeps a digest of
each, so that half a million records are no burden. The anomalies are those that a log must not show: a lost
write, one write at two offsets, two values at one offset, an altered one, one that nobody sent, and reads of
one key in another order than its sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of a finished history; `examples` describes the first anomalies of each kind.

    `unacknowledged` are records that were sent, never acknowledged and not read: their fate was open.
    """

    sent: int
    acknowledged: int
    read: int
    lost: int
    duplicated: int
    reordered: int
    altered: int
    unacknowledged: int
    examples: tuple[str, ...]

    @property
    def kept_its_word(self) -> bool:
        """True if nothing happened that must not."""
        return not (self.lost or self.duplicated or self.reordered or self.altered)


@dataclass(slots=True)
class _Sent:
    partition: int
    key: bytes
    digest: int
    acknowledged: bool = False
    read_at: int = -1


@dataclass(slots=True)
class _Counts:
    acknowledged: int = 0
    read: int = 0
    duplicated: int = 0
    reordered: int = 0
    altered: int = 0


@dataclass(slots=True)
class HistoryChecker:
    """Told of each send (numbers 0, 1, 2, … in the order of sending), acknowledgement and read."""

    _sent: list[_Sent] = field(default_factory=list)
    _waiting: dict[int, list[int]] = field(default_factory=dict)
    _taken: dict[int, int] = field(default_factory=dict)
    _last_read: dict[tuple[int, bytes], int] = field(default_factory=dict)
    _offsets: dict[int, int] = field(default_factory=dict)
    _counts: _Counts = field(default_factory=_Counts)
    _examples: list[str] = field(default_factory=list)

    def sent(self, partition: int, key: bytes, value: bytes) -> int:
        """A record goes out to `partition`; returns its number."""
        number = len(self._sent)
        self._sent.append(_Sent(partition, key, hash(value)))
        self._waiting.setdefault(partition, []).append(number)
        return number

    def acknowledged(self, partition: int, count: int) -> None:
        """The next `count` records of `partition`, in the order of sending, are promised to be stored."""
        taken = self._taken.get(partition, 0)
        numbers = self._waiting.get(partition, [])[taken : taken + count]
        if len(numbers) < count:
            raise ValueError(
                f"{count} records acknowledged, {len(numbers)} were sent to partition {partition}"
            )
        for number in numbers:
            self._sent[number].acknowledged = True
        self._taken[partition] = taken + count
        self._counts.acknowledged += count

    def read(self, partition: int, offset: int, number: int, key: bytes, value: bytes) -> None:
        """A record that says it is `number` was read; call it in the order of reading."""
        self._counts.read += 1
        if offset <= self._offsets.get(partition, -1):
            self._counts.duplicated += 1
            self._note(f"partition {partition}: offset {offset} came after {self._offsets[partition]}")
            return
        self._offsets[partition] = offset
        record = self._sent[number] if 0 <= number < len(self._sent) else None
        if record is None or (record.partition, record.key, record.digest) != (partition, key, hash(value)):
            self._counts.altered += 1
            self._note(f"partition {partition}, offset {offset}: {value[:60]!r} was not sent like this")
            return
        if record.read_at >= 0:
            self._counts.duplicated += 1
            self._note(f"record {number} is at offset {record.read_at} and {offset} of partition {partition}")
            return
        record.read_at = offset
        place = (partition, key)
        if number < self._last_read.get(place, -1):
            self._counts.reordered += 1
            self._note(f"record {number} of key {key!r} came after {self._last_read[place]}")
        else:
            self._last_read[place] = number

    def verdict(self) -> Verdict:
        """The judgement, once everything has been read back."""
        unread = [number for number, record in enumerate(self._sent) if record.read_at < 0]
        lost = [number for number in unread if self._sent[number].acknowledged]
        for number in lost[:EXAMPLES]:
            self._note(f"record {number} of partition {self._sent[number].partition} is lost", always=True)
        return Verdict(
            sent=len(self._sent),
            acknowledged=self._counts.acknowledged,
            read=self._counts.read,
            lost=len(lost),
            duplicated=self._counts.duplicated,
            reordered=self._counts.reordered,
            altered=self._counts.altered,
            unacknowledged=len(unread) - len(lost),
            examples=tuple(self._examples),
        )

    def _note(self, anomaly: str, *, always: bool = False) -> None:
        if always or len(self._examples) < EXAMPLES:
            self._examples.append(anomaly)
