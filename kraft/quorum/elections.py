"""When this node stands for election, and what it answers to others who would."""

from __future__ import annotations

import math

from kraft.quorum.ambient import Randomness
from kraft.quorum.config import QuorumConfig
from kraft.quorum.guarded import GuardedTransport
from kraft.quorum.journal import Journal
from kraft.quorum.links import Message, QuorumLinks
from kraft.quorum.prevote import PreVote, Standing, would_vote
from kraft.quorum.raft import Raft

PASSED = -math.inf
"""An election deadline that has passed."""


class Elections:
    """Looks at the election deadline before pysyncobj does, which would raise the term the moment it has
    passed.
    """

    def __init__(
        self,
        config: QuorumConfig,
        raft: Raft,
        journal: Journal,
        transport: GuardedTransport,
        links: QuorumLinks,
        rng: Randomness,
    ) -> None:
        self._config = config
        self._raft = raft
        self._journal = journal
        self._transport = transport
        self._links = links
        self._rng = rng
        self._pre_vote = PreVote(config.majority)
        self._leader_heard_at = -math.inf
        self._asked_at = -math.inf

    def between(self, low: float, high: float) -> float:
        """A time span drawn evenly."""
        return low + (high - low) * self._rng.random()

    def _timeout(self) -> float:
        return self.between(self._config.election_timeout_min, self._config.election_timeout_max)

    def _grace(self) -> float:
        return self.between(self._config.link_grace_min, self._config.link_grace_max)

    def heard_from_leader(self, now: float) -> None:
        """An append_entries of the current term, or of a later one, has come."""
        self._leader_heard_at = now
        self._pre_vote.abandon()

    def link_opened(self, now: float) -> None:
        """A peer can be reached: while nobody is known to lead there is little to wait for."""
        if not self._raft.is_leader and self._raft.leader_id is None:
            self._raft.election_deadline = min(self._raft.election_deadline, now + self._grace())

    def link_closed(self, peer: int, now: float) -> None:
        """The leader's process is gone, or cut off: do not wait for the whole timeout."""
        if peer == self._raft.leader_id:
            self._raft.election_deadline = min(self._raft.election_deadline, now + self._grace())

    def before_tick(self, now: float, disk_stalled: bool) -> None:
        """Let pysyncobj find a deadline that has passed only if an election would be won."""
        raft = self._raft
        if raft.is_leader:
            return
        could_win = not disk_stalled and 1 + len(self._links.connected()) >= self._config.majority
        if raft.was_asked_to_stand and could_win:
            return
        if self._pre_vote.won():
            raft.election_deadline = PASSED
        elif raft.election_deadline < now:
            raft.postpone_election(now + self._timeout())
            if could_win:
                self._ask(now)

    def _ask(self, now: float) -> None:
        raft = self._raft
        self._asked_at = now
        question = {
            "type": "pre_vote",
            "term": raft.term,
            "round": self._pre_vote.begin(self._config.node_id),
            "last_log_index": self._journal.last_index,
            "last_log_term": self._journal.last_term,
        }
        for peer in self._config.peers:
            self._transport.send_when_durable(peer, question)
        if self._pre_vote.won():
            raft.election_deadline = PASSED

    def asked(self, peer: int, message: Message, now: float, disk_stalled: bool) -> None:
        """`peer` wants to know whether it would be voted for."""
        raft = self._raft
        own = Standing(
            node_id=self._config.node_id,
            term=raft.term,
            last_log_term=self._journal.last_term,
            last_log_index=self._journal.last_index,
            leads=raft.is_leader,
            follows=self._follows(now),
            asks_itself=self._pre_vote.is_open and now - self._asked_at < self._config.link_grace_max,
            disk_stalled=disk_stalled,
        )
        granted = would_vote(own, peer, message["term"], message["last_log_term"], message["last_log_index"])
        if granted:
            self._pre_vote.abandon()
            raft.election_deadline = max(raft.election_deadline, now + self._grace())
        answer = {"type": "pre_vote_reply", "term": raft.term, "round": message["round"], "granted": granted}
        self._transport.send_when_durable(peer, answer)

    def answered(self, peer: int, message: Message) -> None:
        """`peer` has answered a question of this node."""
        if message["term"] > self._raft.term:
            self._pre_vote.abandon()
            self._raft.adopt_term(message["term"])
            self._raft.election_deadline = PASSED
        elif message["granted"] and not self._raft.is_leader:
            self._pre_vote.granted(peer, message["round"])

    def _follows(self, now: float) -> int | None:
        leader = self._raft.leader_id
        if leader is None or leader not in self._links.connected():
            return None
        return leader if now - self._leader_heard_at < self._config.election_timeout_min else None
