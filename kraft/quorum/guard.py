"""The rules that pysyncobj does not keep and Raft needs, each a function of a message and the log.

Committed entries are lost, or a state machine goes back in time, where one of them is missing; the simulation
takes them away one at a time and finds that, `counts_vote` apart: its network repeats nothing. Section
numbers are those of the Raft paper (Ongaro and Ousterhout, 2014).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from kraft.quorum.links import Message
from kraft.quorum.messages import Entry


class LogView(Protocol):
    """What a guard looks at: the entries that are here, from `first_index` to `last_index`."""

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term_at(self, index: int) -> int: ...


class Admitted(msgspec.Struct, frozen=True):
    """Hand `message` on; if `reply_next` is not None it is the next index that the reply asks for."""

    message: Message
    reply_next: int | None = None


class Refused(msgspec.Struct, frozen=True):
    """The message contradicts what is committed: no leader of this cluster sent it."""

    reason: str


# 1. A follower removes entries at a conflict and nowhere else (§5.3, receiver rule 3). pysyncobj removes
#    everything after prevLogIdx, so an old or repeated message takes away entries that were acknowledged
#    since.


def admit_append(log: LogView, committed: int, message: Message) -> Admitted | Refused:
    """An append_entries of the current term, cut down to the entries that are not here.

    The reply vouches for what the message vouched for, not for a tail behind it, and the commit index is not
    moved past that either.
    """
    previous: int = message["prevLogIdx"]
    if previous > log.last_index:
        return Admitted(message)
    if previous >= log.first_index and log.term_at(previous) != message["prevLogTerm"]:
        if previous <= committed:
            return Refused(f"entry {previous} is committed here in another term")
        return Admitted(message, reply_next=max(committed + 1, _start_of_term(log, previous)))
    entries: list[Entry] = message["entries"]
    known = 0
    for _, index, term in entries:
        if index > log.last_index:
            break
        if index >= log.first_index and log.term_at(index) != term:
            if index <= committed:
                return Refused(f"entry {index} is committed here in another term")
            break
        known += 1
    vouched = previous + known
    if known < len(entries):
        rest = {"prevLogIdx": vouched, "prevLogTerm": log.term_at(vouched), "entries": entries[known:]}
        return Admitted(message | rest)
    last = log.last_index
    nothing_new = {
        "prevLogIdx": last,
        "prevLogTerm": log.term_at(last),
        "entries": [],
        "commit_index": min(message["commit_index"], max(vouched, committed)),
    }
    return Admitted(message | nothing_new, reply_next=vouched + 1)


def _start_of_term(log: LogView, index: int) -> int:
    """The first index of the run of entries that have the term of the one at `index` (end of §5.3)."""
    term = log.term_at(index)
    while index > log.first_index and log.term_at(index - 1) == term:
        index -= 1
    return index


# 2. A reply counts in the term that it answers (§5.1); pysyncobj's replies carry no term.


def answers_current_term(reply_term: int, current_term: int) -> bool:
    """Whether a reply is about this leadership and not about an earlier one."""
    return reply_term == current_term


def counts_vote(peer: int, counted: set[int]) -> bool:
    """Whether a vote of this term is the first of its voter (§5.2); pysyncobj counts messages."""
    return peer not in counted


# 3. Nothing is said that a power cut could take back (§5: "updated on stable storage before responding").


def may_leave(required: int, synced: int) -> bool:
    """Whether a message may be sent that depends on the journal's first `required` changes."""
    return required <= synced


def counted_up_to(acknowledged: int, synced_index: int) -> int:
    """How much of a follower's acknowledgement counts: pysyncobj takes its own entries for stored at once, so
    no follower may be ahead of this leader's own disk.
    """
    return min(acknowledged, synced_index)


def may_commit_alone(written: int, synced: int) -> bool:
    """Whether a quorum of one may go on to commit: there is no follower whose answer would be held back."""
    return written == synced


# 4. A proposal belongs to the term and the offset that it was decided for. pysyncobj passes proposals on to
#    whoever leads by then.


def accepts_proposal(term: int, leading: int | None) -> bool:
    """Whether a proposal of `term` may be appended by a node that leads in the term `leading`, or does not
    lead.
    """
    return leading is not None and term == leading


def lands(term: int, expected_offset: int, entry_term: int, next_offset: int) -> bool:
    """Whether a committed batch is delivered; the same on every node, as all of it is in the log."""
    return term == entry_term and expected_offset == next_offset


# 5. is not a rule of Raft: nothing is ever unpickled (see `commands` and `messages`).

# 6. A snapshot replaces the log only where the log lacks what the snapshot holds (§7, receiver rule 6).
#    pysyncobj installs what it is sent: an old one takes the state back, and acknowledged entries behind it
#    are dropped.


def admit_snapshot(log: LogView, committed: int, index: int, term: int) -> bool:
    """Whether a snapshot up to the entry (`index`, `term`) is to be installed."""
    if index <= committed:
        return False
    return not (log.first_index <= index <= log.last_index and log.term_at(index) == term)


# 7. A commit index counts for entries that the same message vouches for (§5.3, receiver rule 5). A message
#    with a piece of a snapshot vouches for none; pysyncobj moves the commit index to the end of the log all
#    the same, over entries that the leader may not have.


def vouches_for_nothing(message: Message, committed: int) -> Message:
    """An append_entries without entries or pieces, which only says that its sender leads."""
    alive = {"type": message["type"], "term": message["term"], "commit_index": committed}
    return alive | {"serialized": None}
