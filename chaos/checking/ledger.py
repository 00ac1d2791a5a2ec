"""Every record of a history: what was sent, what became of it, where it lies, who saw it.

Two million records must fit: they are columns of numbers, indexed by a record's *slot*, which counts sends.
What a partition is known to hold is a mapping from offset to slot; an acknowledgement and a read are told
alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from chaos.checking.findings import Anomaly, Findings
from chaos.checking.transactions import NO_TRANSACTION, Transactions
from chaos.history import ALTERED, Outcome, Polled, Read, Sent, Settled, Stored

NOWHERE = -1
EVERYWHERE = range(2**63)
READ = 1
READ_AS_COMMITTED = 2

PENDING, ACKNOWLEDGED, REFUSED, UNKNOWN = range(4)
_OUTCOMES = {Outcome.ACKNOWLEDGED: ACKNOWLEDGED, Outcome.REFUSED: REFUSED, Outcome.UNKNOWN: UNKNOWN}


class Place:
    """One partition."""

    __slots__ = (
        "compacted",
        "found",
        "found_after",
        "index",
        "number",
        "read_back_to",
        "shown_whole",
        "slots",
        "topic",
        "trimmed_to",
    )

    def __init__(self, topic: str, index: int, number: int) -> None:
        self.topic = topic
        self.index = index
        self.number = number
        self.slots: dict[int, int] = {}
        """The record that was first seen at an offset."""
        self.trimmed_to = 0
        self.read_back_to = NOWHERE
        """The end that a final consumer has read up to, NOWHERE if none has."""
        self.shown_whole = False
        """A final consumer of committed records has read it."""
        self.found = EVERYWHERE
        """The offsets among which the last final consumer found records: at all others there is none."""
        self.found_after = 0
        """How many sends there had been by then: of later ones it says nothing."""
        self.compacted = False

    def __str__(self) -> str:
        return f"{self.topic}-{self.index}"


class Stream:
    """What one client sends to one partition."""

    __slots__ = ("client", "place")

    def __init__(self, client: str, place: Place) -> None:
        self.client = client
        self.place = place


class Run:
    """Records of one poll that follow each other and are of one partition."""

    __slots__ = ("numbers", "offsets", "place")

    def __init__(self, place: Place, records: Sequence[Read]) -> None:
        self.place = place
        _, _, self.offsets, self.numbers = zip(*records, strict=True)


class Places:
    """All partitions of a history."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, int], Place] = {}
        self._compacted: set[str] = set()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._all.values())

    def get(self, topic: str, index: int) -> Place:
        """The partition, a new one if nobody spoke of it yet."""
        place = self._all.get((topic, index))
        if place is None:
            place = self._all[topic, index] = Place(topic, index, len(self._all))
            place.compacted = topic in self._compacted
        return place

    def compact(self, topic: str) -> None:
        """All partitions of `topic`, those to come as well, may drop records that have a successor."""
        self._compacted.add(topic)
        for place in self._all.values():
            place.compacted |= place.topic == topic

    def runs(self, records: Sequence[Read]) -> Iterator[Run]:
        """A poll's records, cut where the partition changes."""
        start = 0
        for position in range(1, len(records)):
            if records[position][1] != records[start][1] or records[position][0] != records[start][0]:
                yield Run(self.get(*records[start][:2]), records[start:position])
                start = position
        if records:
            yield Run(self.get(*records[start][:2]), records[start:])


class Ledger:
    """Columns of all that was sent; told of sends, settlements and reads."""

    def __init__(self, places: Places, transactions: Transactions, findings: Findings) -> None:
        self._places = places
        self._transactions = transactions
        self._findings = findings
        self._slot_of: dict[int, int] = {}
        self._stream_of: dict[tuple[str, str, int], int] = {}
        self._misread: set[tuple[int, ...]] = set()
        """Where a record or an offset was found to be wrong: each counts once, however often it is read."""
        self._strangers: dict[int, list[tuple[Polled, Place, int]]] = {}
        """Reads of numbers that nobody sent, so far."""
        self.streams: list[Stream] = []
        self.copies: dict[int, int] = {}
        """Slots of copies, and the numbers of their originals."""
        self.numbers = array("q")
        self.stream = array("i")
        self.keys = array("q")
        self.transaction = array("q")
        self.offsets = array("q")
        self.outcomes = bytearray()
        self.seen = bytearray()

    def __len__(self) -> int:
        return len(self.numbers)

    def sent(self, event: Sent) -> None:
        """A new record. Raises ValueError if its number is taken."""
        client, _, record, topic, partition, key, transaction, copy_of = event
        slot = len(self.numbers)
        if self._slot_of.setdefault(record, slot) != slot or record < 0:
            raise ValueError(f"record {record} of {client} is not a new one: numbers are unlike each other")
        self.numbers.append(record)
        stream = self._stream_of.get((client, topic, partition))
        if stream is None:
            stream = self._stream_of[client, topic, partition] = len(self.streams)
            self.streams.append(Stream(client, self._places.get(topic, partition)))
        self.stream.append(stream)
        self.keys.append(key)
        if transaction is None:
            self.transaction.append(NO_TRANSACTION)
        else:
            self.transaction.append(transaction)
            self._transactions.began(transaction, client)
        self.offsets.append(NOWHERE)
        self.outcomes.append(PENDING)
        self.seen.append(0)
        if copy_of is not None:
            self.copies[slot] = copy_of
        if self._strangers:
            for poll, place, offset in self._strangers.pop(record, ()):
                self.read(poll, place, (offset,), (record,))

    def settled(self, event: Settled) -> None:
        """A record's outcome. Raises ValueError if it was not sent, or had another outcome already."""
        client, _, record, outcome, offset = event
        slot = self._settle(client, record, _OUTCOMES[outcome])
        if outcome is Outcome.ACKNOWLEDGED and offset is not None and offset >= 0:
            self._found(slot, self.streams[self.stream[slot]].place, offset)

    def stored(self, event: Stored) -> None:
        """The outcome of a batch; raises ValueError as `settled` does."""
        client, _, records, base_offset = event
        slots = [self._settle(client, record, ACKNOWLEDGED) for record in records]
        if slots and base_offset is not None and base_offset >= 0:
            place = self.streams[self.stream[slots[0]]].place
            known, holders = self.offsets, place.slots
            for offset, slot in enumerate(slots, base_offset):
                if known[slot] == NOWHERE and offset not in holders:
                    known[slot] = offset
                    holders[offset] = slot
                else:
                    self._found(slot, place, offset)

    def read(self, poll: Polled, place: Place, offsets: Sequence[int], numbers: Sequence[int]) -> None:
        """Records that a poll returned from `place`."""
        slots = list(map(self._slot_of.get, numbers))
        if None in slots or slots != list(map(place.slots.get, offsets)):
            right = self._put_in_place(poll, place, offsets, numbers)
        else:
            right = cast(list[int], slots)
        if poll.committed_only:
            self._shown_as_committed(poll, right)
        else:
            for slot in right:
                self.seen[slot] |= READ

    def _put_in_place(
        self, poll: Polled, place: Place, offsets: Sequence[int], numbers: Sequence[int]
    ) -> list[int]:
        """Look at each record of a poll that is not what was seen before; returns the right ones."""
        right = []
        for offset, number in zip(offsets, numbers, strict=True):
            slot = self._slot_of.get(number)
            if slot is None:
                self._unknown(poll, place, offset, number)
            elif self.streams[self.stream[slot]].place is not place:
                self._strayed(slot, place, offset)
            else:
                self._found(slot, place, offset)
                right.append(slot)
        return right

    def _shown_as_committed(self, poll: Polled, slots: Iterable[int]) -> None:
        for slot in slots:
            self.seen[slot] = READ | READ_AS_COMMITTED
            transaction = self.transaction[slot]
            if transaction != NO_TRANSACTION:
                self._transactions.read(transaction, self.numbers[slot], poll.client, poll.transaction)

    def _settle(self, client: str, record: int, outcome: int) -> int:
        slot = self._slot_of.get(record)
        if slot is None:
            raise ValueError(f"{client} was told of record {record}, which was not sent")
        if self.outcomes[slot] not in (PENDING, UNKNOWN):
            raise ValueError(f"{client} was told of record {record} once more")
        self.outcomes[slot] = outcome
        return slot

    def judge_strangers(self, findings: Findings) -> None:
        """Add the values that nobody sent until the end."""
        for number, reads in self._strangers.items():
            _, place, offset = reads[0]
            text = "{} at offset {} holds record {}, which nobody sent"
            findings.note(Anomaly.ALTERED, text, place, offset, number)

    def _found(self, slot: int, place: Place, offset: int) -> None:
        """The record is at `offset`: is it elsewhere too, and is another one here?"""
        known = self.offsets[slot]
        if known == NOWHERE:
            self.offsets[slot] = offset
        elif known != offset and self._is_news(slot, offset):
            text = "record {} is at offsets {} and {} of {}"
            self._findings.note(Anomaly.DUPLICATE, text, self.numbers[slot], known, offset, place)
        holder = place.slots.setdefault(offset, slot)
        if holder != slot and self._is_news(place.number, offset, slot):
            text = "{} at offset {} holds record {}, and record {}"
            numbers = self.numbers[holder], self.numbers[slot]
            self._findings.note(Anomaly.INCONSISTENT_OFFSET, text, place, offset, *numbers)

    def _unknown(self, poll: Polled, place: Place, offset: int, number: int) -> None:
        if number != ALTERED:
            self._strangers.setdefault(number, []).append((poll, place, offset))
        elif self._is_news(place.number, offset, ALTERED):
            text = "{} at offset {} holds a value that is not as anything was sent"
            self._findings.note(Anomaly.ALTERED, text, place, offset)

    def _strayed(self, slot: int, place: Place, offset: int) -> None:
        if self._is_news(place.number, offset, slot):
            meant = self.streams[self.stream[slot]].place
            text = "{} at offset {} holds record {}, which was sent to {}"
            self._findings.note(Anomaly.ALTERED, text, place, offset, self.numbers[slot], meant)

    def _is_news(self, *what: int) -> bool:
        known = what in self._misread
        self._misread.add(what)
        return not known
