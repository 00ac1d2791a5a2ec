"""pysyncobj's way out: what it sends waits here until the disk has what the message relies on."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from pysyncobj.transport import Transport

from kraft.quorum import guard
from kraft.quorum.journal import Journal
from kraft.quorum.links import Message, QuorumLinks
from kraft.quorum.snapshots import OutgoingSnapshots


class _Held(msgspec.Struct, frozen=True):
    """A message that relies on the journal's first `required` changes, and on `term` being current."""

    required: int
    term: int
    peer: int
    message: Message


class GuardedTransport(Transport):  # type: ignore[misc]  # pysyncobj has no types
    """Sends at once what relies on nothing, and the rest when it may leave, in order.

    Replies and votes of a term that has passed meanwhile are dropped: what they say may not be true any more.
    """

    def __init__(self, links: QuorumLinks, journal: Journal, snapshots: OutgoingSnapshots) -> None:
        super().__init__(None, None, [])
        self._links = links
        self._journal = journal
        self._snapshots = snapshots
        self._held: deque[_Held] = deque()
        self._reply_next: int | None = None

    def send(self, node: Any, message: Message) -> bool:
        """pysyncobj's interface; `node.id` is the peer's id."""
        match message["type"]:
            case "append_entries" | "timeout_now":
                sent = self._links.send(node.id, message)
                if not sent and message.get("serialized") is not None:
                    self._snapshots.cancel(node)
                return sent
            case "next_node_idx":
                next_index = message["next_node_idx"] if self._reply_next is None else self._reply_next
                self.reply(node.id, next_index, success=message["success"], reset=message["reset"])
                return True
            case "request_vote" | "response_vote":
                self.send_when_durable(node.id, message)
                return True
            case other:
                raise AssertionError(f"pysyncobj forwards: {other}")

    def reply(self, peer: int, next_index: int, *, success: bool, reset: bool) -> None:
        """Answer an append_entries, in the current term."""
        fields = {"next_node_idx": next_index, "success": success, "reset": reset}
        self.send_when_durable(
            peer, {"type": "next_node_idx", "term": self._journal.getCurrentTerm(), **fields}
        )

    def reply_alive(self, peer: int) -> None:
        """Tell the leader that this node heard it, and nothing about the log; does not wait for the disk."""
        if self._journal.term_is_durable:
            says = {"next_node_idx": 0, "success": False, "reset": False}
            self._links.send(peer, {"type": "next_node_idx", "term": self._journal.getCurrentTerm(), **says})

    def send_when_durable(self, peer: int, message: Message) -> None:
        """Send as soon as everything that is in the journal now is on disk."""
        if not self._held and guard.may_leave(self._journal.written, self._journal.synced):
            self._links.send(peer, message)
        else:
            self._held.append(_Held(self._journal.written, self._journal.getCurrentTerm(), peer, message))

    def answering(self, next_index: int | None) -> None:
        """Until called with None: the next index that pysyncobj's replies shall carry."""
        self._reply_next = next_index

    def release(self) -> None:
        """Send what may leave now."""
        while self._held and guard.may_leave(self._held[0].required, self._journal.synced):
            held = self._held.popleft()
            if held.term == self._journal.getCurrentTerm():
                self._links.send(held.peer, held.message)

    @property
    def holds(self) -> bool:
        """Whether something waits for the disk."""
        return bool(self._held)
