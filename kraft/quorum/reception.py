"""What comes in from a peer: past the guards, and then to pysyncobj."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kraft.quorum import guard
from kraft.quorum.compaction import Compaction
from kraft.quorum.config import QuorumConfig
from kraft.quorum.elections import Elections
from kraft.quorum.guarded import GuardedTransport
from kraft.quorum.journal import Journal
from kraft.quorum.links import Message
from kraft.quorum.raft import Raft
from kraft.quorum.status import Counters


class Incoming(NamedTuple):
    """A message that `messages.parse` returned, and what there is to know beside it."""

    peer: int
    message: Message
    now: float
    disk_stalled: bool


Handler = Callable[[Incoming], bool]


class Reception:
    """One method per type of message. Each returns False for what no node that keeps the rules would send."""

    def __init__(
        self,
        config: QuorumConfig,
        raft: Raft,
        journal: Journal,
        transport: GuardedTransport,
        elections: Elections,
        compaction: Compaction,
        counters: Counters,
    ) -> None:
        self._config = config
        self._raft = raft
        self._journal = journal
        self._transport = transport
        self._elections = elections
        self._compaction = compaction
        self._counters = counters
        self._acknowledged: dict[int, int] = {}
        self._caught_up: dict[int, float] = {}
        self._resent: dict[int, float] = {}
        self._votes: tuple[int, set[int]] = (-1, set())
        self._handlers: dict[str, Handler] = {
            "append_entries": self._append_entries,
            "next_node_idx": self._reply,
            "request_vote": self._pass_on,
            "response_vote": self._vote,
            "timeout_now": self._pass_on,
            "pre_vote": self._pre_vote,
            "pre_vote_reply": self._pre_vote_reply,
            "stale_term": self._stale_term,
        }

    def handle(self, incoming: Incoming) -> bool:
        """Whether the sender kept the rules."""
        return self._handlers[incoming.message["type"]](incoming)

    # As a follower.

    def _append_entries(self, incoming: Incoming) -> bool:
        peer, message, now, _ = incoming
        raft = self._raft
        if message["term"] < raft.term:
            self._transport.send_when_durable(peer, {"type": "stale_term", "term": raft.term})
            return True
        if raft.is_leader and message["term"] == raft.term:
            return False
        if "serialized" in message or self._compaction.installs:
            self._snapshot_piece(peer, message, now)
            return True
        admission = guard.admit_append(self._journal, raft.commit_index, message)
        if isinstance(admission, guard.Refused):
            return False
        self._elections.heard_from_leader(now)
        if not message["entries"] and self._journal.written > self._journal.synced:
            self._transport.reply_alive(peer)
        self._transport.answering(admission.reply_next)
        raft.hear(self._transport, peer, admission.message)
        self._transport.answering(None)
        return True

    def _snapshot_piece(self, peer: int, message: Message, now: float) -> None:
        raft, piece = self._raft, message.get("serialized")
        self._elections.heard_from_leader(now)
        raft.hear(self._transport, peer, guard.vouches_for_nothing(message, raft.commit_index))
        if piece is None or self._compaction.installs:
            self._transport.reply_alive(peer)
            return
        if guard.admit_snapshot(self._journal, raft.commit_index, piece.last_index, piece.last_term):
            self._compaction.receive(peer, piece, raft.term)
            self._transport.reply_alive(peer)
        elif piece.last:
            self._compaction.forget_pieces()
            self._transport.reply(peer, raft.commit_index + 1, success=True, reset=True)

    # As a leader.

    def _reply(self, incoming: Incoming) -> bool:
        peer, message, now, _ = incoming
        raft = self._raft
        if not guard.answers_current_term(message["term"], raft.term):
            self._counters.stale_replies += 1
            raft.adopt_term(message["term"])
            return True
        if not raft.is_leader:
            return True
        lowest = 2 if self._compaction.outgoing.newest is None else 1
        next_index = max(lowest, min(message["next_node_idx"], self._journal.last_index + 1))
        if message["success"]:
            self._acknowledge(peer, message, next_index, now)
            return True
        before = raft.next_index(peer)
        raft.hear(self._transport, peer, message | {"next_node_idx": next_index})
        if (
            raft.next_index(peer) != before
            and now - self._resent.get(peer, 0.0) >= self._config.resend_interval
        ):
            self._resent[peer] = now
            raft.send_entries()
        return True

    def _acknowledge(self, peer: int, message: Message, next_index: int, now: float) -> None:
        acknowledged = next_index - 1
        self._acknowledged[peer] = max(self._acknowledged.get(peer, 0), acknowledged)
        if acknowledged >= self._raft.commit_index:
            self._caught_up[peer] = now
        counted = guard.counted_up_to(acknowledged, self._journal.synced_index)
        counting = message | {"next_node_idx": counted + 1}
        self._raft.hear_acknowledgement(self._transport, peer, counting, next_index)

    def count_acknowledgements(self) -> None:
        """This node's own disk has come further: so may what followers said before."""
        if self._raft.is_leader:
            for peer, acknowledged in self._acknowledged.items():
                counted = guard.counted_up_to(acknowledged, self._journal.synced_index)
                self._raft.raise_match(peer, counted)

    def forget_acknowledgements(self) -> None:
        """Leadership begins or ends."""
        self._acknowledged.clear()
        self._caught_up.clear()

    def caught_up_at(self, peer: int) -> float | None:
        """When `peer` last had everything that was committed, as far as this leader knows."""
        return self._caught_up.get(peer)

    # Elections.

    def _vote(self, incoming: Incoming) -> bool:
        peer, message = incoming.peer, incoming.message
        raft = self._raft
        if self._votes[0] != raft.term:
            self._votes = (raft.term, set())
        if raft.is_candidate and message["term"] == raft.term and guard.counts_vote(peer, self._votes[1]):
            self._votes[1].add(peer)
            raft.hear(self._transport, peer, message)
        return True

    def _pass_on(self, incoming: Incoming) -> bool:
        self._raft.hear(self._transport, incoming.peer, incoming.message)
        return True

    def _pre_vote(self, incoming: Incoming) -> bool:
        self._elections.asked(incoming.peer, incoming.message, incoming.now, incoming.disk_stalled)
        return True

    def _pre_vote_reply(self, incoming: Incoming) -> bool:
        self._elections.answered(incoming.peer, incoming.message)
        return True

    def _stale_term(self, incoming: Incoming) -> bool:
        self._raft.adopt_term(incoming.message["term"])
        return True
