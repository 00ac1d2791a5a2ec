"""What must hold of a quorum after every event, whatever happens to its nodes."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from struct import Struct

import cbor2

from kraft.quorum.driver import QuorumDriver
from kraft.quorum.journal import Journal
from metadata.log import CommittedBatch, Leadership, Outcome

_RECORD = Struct(">QqQI")
"""Number of the proposal, its term, its offset, position of the record in it."""
_VOTE_TYPE = re.compile(rb"request_vote|response_vote")
_STATE = Struct(">QI")
"""Next offset, and a checksum over all records before it."""


class InvariantError(Exception):
    """A history that must not be."""


@dataclass(frozen=True, slots=True)
class TracedProposal:
    """A proposal whose records say where they were meant to land."""

    number: int
    node_id: int
    term: int
    offset: int
    records: tuple[bytes, ...]


class Trace:
    """A running checksum of everything that happens: two runs of one seed must have the same."""

    def __init__(self) -> None:
        self.checksum = 0
        self.events = 0

    def add(self, node_id: int, what: bytes) -> None:
        """Something happened at a node."""
        self.events += 1
        self.checksum = zlib.crc32(what, self.checksum ^ node_id)


class QuorumInvariants:
    """Watches all nodes of one history. Every method raises InvariantError."""

    def __init__(self) -> None:
        self.trace = Trace()
        self._truth: list[tuple[bytes, int]] = []
        """The record at each offset with its term, as the first node that delivered it had it."""
        self._checksums: list[int] = [0]
        """`_checksums[n]` is over the first `n` records."""
        self._positions: dict[int, int] = {}
        self._leaders: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}
        self._open: dict[int, TracedProposal] = {}
        self._rejected: set[int] = set()
        self._landed: set[int] = set()
        self._logs: dict[int, tuple[int, Journal]] = {}
        """Of each node that runs: its term, and the log as it is now."""
        self._number = 0
        self.acknowledged = 0

    @property
    def committed_records(self) -> int:
        """How many records have been delivered anywhere."""
        return len(self._truth)

    # Proposals and their outcomes.

    def new_proposal(self, node_id: int, term: int, offset: int, count: int) -> TracedProposal:
        """Make up records that are told apart from all others."""
        self._number += 1
        records = tuple(_RECORD.pack(self._number, term, offset, i) for i in range(count))
        proposal = self._open[self._number] = TracedProposal(self._number, node_id, term, offset, records)
        return proposal

    def answered(self, number: int, outcome: Outcome) -> None:
        """The client of a proposal was told: once, and the truth."""
        proposal = self._open.pop(number, None)
        self._check(proposal is not None, f"proposal {number} was answered twice")
        assert proposal is not None
        if outcome is Outcome.COMMITTED:
            self.acknowledged += 1
            end = proposal.offset + len(proposal.records)
            there = tuple(record for record, _ in self._truth[proposal.offset : end])
            self._check(there == proposal.records, f"acknowledged proposal {number} is not in the log")
        elif outcome is Outcome.REJECTED:
            self._check(number not in self._landed, f"rejected proposal {number} is in the log")
            self._rejected.add(number)

    def forget_proposals_of(self, node_id: int) -> None:
        """The node died: its clients are told nothing."""
        self._logs.pop(node_id, None)
        for number in [n for n, proposal in self._open.items() if proposal.node_id == node_id]:
            del self._open[number]

    # What the state machines see.

    def restarted(self, node_id: int) -> None:
        """A node begins with an empty state machine."""
        self._positions[node_id] = 0
        self._logs.pop(node_id, None)

    def delivered(self, node_id: int, batch: CommittedBatch) -> None:
        """A node's state machine got records."""
        self._check(
            batch.first_offset == self._positions[node_id], f"node {node_id}: a gap in what is delivered"
        )
        for offset, record in enumerate(batch.records, batch.first_offset):
            if offset == len(self._truth):
                self._first_delivery(offset, record, batch.term)
            self._check(
                self._truth[offset] == (record, batch.term), f"node {node_id} has another record at {offset}"
            )
        self._positions[node_id] += len(batch.records)
        self.trace.add(node_id, b"".join(batch.records))

    def _first_delivery(self, offset: int, record: bytes, term: int) -> None:
        number, proposed_term, proposed_offset, position = _RECORD.unpack(record)
        self._check(
            (proposed_term, proposed_offset + position) == (term, offset),
            f"proposal {number} ({proposed_term}, {proposed_offset}) landed in term {term} at {offset}",
        )
        self._check(number not in self._rejected, f"rejected proposal {number} was committed")
        self._landed.add(number)
        self._truth.append((record, term))
        self._checksums.append(zlib.crc32(record, self._checksums[-1]))

    def state_of(self, node_id: int) -> bytes:
        """A node's state machine as a snapshot."""
        position = self._positions[node_id]
        return _STATE.pack(position, self._checksums[position])

    def restored(self, node_id: int, snapshot: bytes, next_offset: int) -> None:
        """A node's state machine was replaced by a snapshot."""
        self._check(
            next_offset >= self._positions[node_id], f"node {node_id}: a snapshot took the state back"
        )
        self._check(
            next_offset < len(self._checksums)
            and _STATE.unpack(snapshot) == (next_offset, self._checksums[next_offset]),
            f"node {node_id}: a snapshot of another history",
        )
        self._positions[node_id] = next_offset
        self.trace.add(node_id, snapshot)

    # Elections.

    def announced(self, node_id: int, leadership: Leadership) -> None:
        """A node told its state machine who leads; a leader has everything of earlier terms by then."""
        self.trace.add(node_id, b"%d" % leadership.term)
        if leadership.leader_id is None:
            return
        known = self._leaders.setdefault(leadership.term, leadership.leader_id)
        self._check(known == leadership.leader_id, f"two leaders in term {leadership.term}")
        if leadership.leader_id == node_id:
            missing = self._truth[self._positions[node_id] :]
            self._check(
                all(term >= leadership.term for _, term in missing),
                f"node {node_id} leads term {leadership.term} without what was committed before",
            )

    def sent(self, sender: int, receiver: int, payload: bytes) -> None:
        """A message left a node; a vote, for itself or another, is one per term."""
        kind = _VOTE_TYPE.search(payload)
        if kind is None:
            return
        message = cbor2.loads(payload)
        candidate = sender if message["type"] == "request_vote" else receiver
        known = self._votes.setdefault((sender, message["term"]), candidate)
        self._check(known == candidate, f"node {sender} voted twice in term {message['term']}")

    def after_event(self, node_id: int, driver: QuorumDriver) -> None:
        """Something happened at a node that is up. Asked a thousand times a history: what is wrong is put
        into words when it is wrong."""
        term, log = driver.leading_term, driver.log
        if term is not None:
            known = self._leaders.setdefault(term, node_id)
            if known != node_id:
                raise InvariantError(f"two leaders in term {term}: {known} and {node_id}")
        if driver.next_offset != self._positions[node_id]:
            raise InvariantError(f"node {node_id} lost count of what it delivered")
        if log.last_index < driver.applied_index:
            raise InvariantError(f"node {node_id} removed entries that it had delivered")
        self._logs[node_id] = (driver.term, log)
        if term is not None:
            self._check_beliefs(node_id, driver, term)

    def _check_beliefs(self, leader: int, driver: QuorumDriver, term: int) -> None:
        """A leader counts what is on its own disk, and on its followers' disks the same as here."""
        own = driver.log
        if driver.committed_index > max(1, own.synced_index):
            raise InvariantError(f"node {leader} committed what its own disk lacks")
        for peer, counted in driver.counted_entries():
            peer_term, log = self._logs.get(peer, (-1, None))
            if log is None or peer_term > term:
                continue
            there = counted <= log.synced_index
            if there and counted >= max(log.first_index, own.first_index):
                there = log.term_at(counted) == own.term_at(counted)
            if not there:
                raise InvariantError(
                    f"node {leader} counts entry {counted} of node {peer}, which does not have it"
                )

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            raise InvariantError(problem)
