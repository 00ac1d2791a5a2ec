"""Pre-vote: ask whether an election could be won before starting one (§9.6 of Ongaro's thesis, KIP-996).

Without it a node that was cut off raises its term with every attempt, and unseats a healthy leader when it
returns.
"""

from __future__ import annotations

import msgspec


class PreVote:
    """The rounds of one node: at most one is open; a reply to an earlier one counts for nothing."""

    def __init__(self, majority: int) -> None:
        self._majority = majority
        self._round = 0
        self._granted: set[int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether answers are awaited."""
        return self._granted is not None

    def begin(self, own_id: int) -> int:
        """Open a new round, with this node's own yes; returns its number."""
        self._round += 1
        self._granted = {own_id}
        return self._round

    def abandon(self) -> None:
        """Close the round without a result."""
        self._granted = None

    def granted(self, peer: int, round_number: int) -> None:
        """`peer` would vote for this node."""
        if self._granted is not None and round_number == self._round:
            self._granted.add(peer)

    def won(self) -> bool:
        """Whether a majority would; closes the round then."""
        if self._granted is None or len(self._granted) < self._majority:
            return False
        self._granted = None
        return True


class Standing(msgspec.Struct, frozen=True):
    """What a node knows of itself when it is asked for a pre-vote."""

    node_id: int
    term: int
    last_log_term: int
    last_log_index: int
    leads: bool
    follows: int | None
    """The leader that was heard of lately, over a link that is still there."""
    asks_itself: bool
    """Whether it has asked others a moment ago."""
    disk_stalled: bool


def would_vote(own: Standing, candidate: int, term: int, last_log_term: int, last_log_index: int) -> bool:
    """Whether this node would vote for `candidate`, which is in `term` now and would stand in the next.

    Of two with the same log that ask at the same moment the higher id goes first: they would split the vote.
    """
    if own.leads or own.disk_stalled or term < own.term:
        return False
    if own.follows is not None and own.follows != candidate:
        return False
    log, own_log = (last_log_term, last_log_index), (own.last_log_term, own.last_log_index)
    if own.asks_itself and log == own_log and candidate < own.node_id:
        return False
    return log >= own_log
