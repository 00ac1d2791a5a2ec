"""pysyncobj's SyncObj with its insides in reach: the only file that names them.

What a SyncObj does by itself and must not do here is replaced: unpickling commands and dumps, its queue of
proposals, its log compaction. Node ids are ints, so that its sets iterate in the same order in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.node import Node

from kraft.quorum import ambient
from kraft.quorum.config import QuorumConfig
from kraft.quorum.journal import Journal
from kraft.quorum.links import Message
from kraft.quorum.snapshots import OutgoingSnapshots

_FOLLOWER, _CANDIDATE, _LEADER = 0, 1, 2


class RaftNode(Node):  # type: ignore[misc]  # pysyncobj has no types
    """A voter. Its id is an int, and so is its hash."""

    def __hash__(self) -> int:
        return int(self._id)

    def __str__(self) -> str:
        return str(self._id)


class StateMachine(Protocol):
    """Who is told of committed entries."""

    def apply_entry(self, index: int, term: int, command: bytes) -> None: ...


class _NoPoller:
    """pysyncobj polls its sockets at the end of a tick; here are none."""

    def poll(self, timeout: float) -> None:
        """Nothing to wait for."""


def _configure(config: QuorumConfig) -> Any:
    return SyncObjConf(
        autoTick=False,
        raftMinTimeout=config.election_timeout_min,
        raftMaxTimeout=config.election_timeout_max,
        appendEntriesPeriod=config.heartbeat_interval,
        leaderFallbackTimeout=config.check_quorum_timeout,
        # The driver sends by itself right after it has appended; batching only turns pysyncobj's own sends
        # off.
        appendEntriesUseBatch=True,
        dynamicMembershipChange=False,
        commandsWaitLeader=False,
        useFork=False,
        fullDumpFile=None,
        journalFile=None,
    )


class Raft(SyncObj):  # type: ignore[misc]
    """One voter's Raft. All times are the caller's clock, in seconds."""

    def __init__(
        self,
        config: QuorumConfig,
        journal: Journal,
        transport: Any,
        snapshots: OutgoingSnapshots,
        machine: StateMachine,
    ) -> None:
        self._machine = machine
        self._config = config
        self._journal = journal
        self._snapshots = snapshots
        self._by_id = {peer: RaftNode(peer) for peer in config.peers}
        with ambient.constructing(journal):
            super().__init__(
                RaftNode(config.node_id),
                list(self._by_id.values()),
                conf=_configure(config),
                transport=transport,
            )
        self._SyncObj__serializer = None
        self._poller = _NoPoller()
        if self.term > journal.getCurrentTerm():
            # A power cut may leave entries of a term and not the term, which SyncObj then takes from them for
            # itself alone: its replies would carry the journal's, and no leader would believe them.
            self._SyncObj__setCurrentTerm(self.term, None)

    def __dir__(self) -> list[str]:
        """SyncObj looks through its attributes for replicated methods; there are none."""
        return []

    # What replaces parts of SyncObj.

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802
        index = self._SyncObj__raftLastApplied + 1
        self._machine.apply_entry(index, self._journal.term_at(index), command)

    def _SyncObj__onSetCodeVersion(self, new_version: int) -> None:  # noqa: N802
        """No method of this class is replicated."""

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """The driver decides when a snapshot is taken."""

    def _SyncObj__loadDumpFile(self, **_: Any) -> None:  # noqa: N802
        raise AssertionError("snapshots are installed by the driver")

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """To each connected peer what it lacks, or a heartbeat.

        SyncObj's own would send an empty message over and over while there is no piece of a snapshot to be
        had, and a large entry pickled and in pieces.
        """
        self._SyncObj__newAppendEntriesTime = ambient.now() + self._config.heartbeat_interval
        for node in self._by_id.values():
            if self.isNodeConnected(node):
                self._send_what_lacks(node)

    def _send_what_lacks(self, node: RaftNode) -> None:
        next_indexes, journal = self._SyncObj__raftNextIndex, self._journal
        while next_indexes[node] <= journal.first_index:
            piece = self._snapshots.next_piece(node)
            if not self._send(node, {"serialized": piece}) or piece is None:
                return
            if piece.last:
                next_indexes[node] = piece.last_index + 1
        while True:
            previous = next_indexes[node] - 1
            entries = self._SyncObj__getEntries(previous + 1, None, self._config.max_append_bytes)
            at = {"prevLogIdx": previous, "prevLogTerm": journal.term_at(previous)}
            if not self._send(node, at | {"entries": entries}) or not entries:
                return
            next_indexes[node] = entries[-1][1] + 1
            if next_indexes[node] > journal.last_index:
                return

    def _send(self, node: RaftNode, fields: Message) -> bool:
        head = {"type": "append_entries", "term": self.term, "commit_index": self.commit_index}
        return bool(self._SyncObj__transport.send(node, head | fields))

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """Proposals wait in the driver, which knows their terms."""

    # What the driver asks and does.

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == _LEADER)

    @property
    def is_candidate(self) -> bool:
        return bool(self._SyncObj__raftState == _CANDIDATE)

    @property
    def leader_id(self) -> int | None:
        leader = self._SyncObj__raftLeader
        return None if leader is None else leader.id

    @property
    def last_applied(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def has_applied_own_no_op(self) -> bool:
        """For a leader: whether everything from before its term is committed and applied."""
        index = self._SyncObj__noopIDx
        return index is not None and self.last_applied >= index

    @property
    def election_deadline(self) -> float:
        """When a follower stops waiting for a leader."""
        return float(self._SyncObj__raftElectionDeadline)

    @election_deadline.setter
    def election_deadline(self, when: float) -> None:
        self._SyncObj__raftElectionDeadline = when

    def postpone_election(self, when: float) -> None:
        """Wait for a leader until `when`, even if the last one asked this node to stand."""
        self._SyncObj__transferInProgress = False
        self.election_deadline = when

    @property
    def heartbeat_due(self) -> float:
        """When a leader sends the next heartbeat."""
        return float(self._SyncObj__newAppendEntriesTime)

    @property
    def was_asked_to_stand(self) -> bool:
        """Whether the leader hands over to this node (Raft's TimeoutNow)."""
        return bool(self._SyncObj__transferInProgress)

    def node(self, peer: int) -> RaftNode:
        return self._by_id[peer]

    def tick(self) -> None:
        """Elect, commit, apply, send heartbeats: whatever the time asks for."""
        self.doTick(0)

    def elect_itself(self) -> None:
        """The election of a quorum of one; SyncObj would commit in that tick, before anything is durable."""
        self._SyncObj__setCurrentTerm(self.term + 1, self.selfNode.id)
        self._SyncObj__onBecomeLeader()

    def append(self, commands: Sequence[bytes]) -> int:
        """Add entries as the leader, to be sent by `send_entries`; the index of the first."""
        first = self._journal.last_index + 1
        for index, command in enumerate(commands, first):
            self._journal.add(command, index, self.term)
        return first

    def send_entries(self) -> None:
        """Send every peer what it lacks, or a heartbeat."""
        self._SyncObj__sendAppendEntries()

    def hear(self, transport: Any, peer: int, message: Message) -> None:
        """Let SyncObj handle a message that the guards admitted."""
        transport._onMessageReceived(self._by_id[peer], message)

    def hear_acknowledgement(self, transport: Any, peer: int, message: Message, next_index: int) -> None:
        """A success up to what `message` says; entries up to `next_index` are not sent again.

        SyncObj would start over from the acknowledged entry with everything that is under way.
        """
        node = self._by_id[peer]
        sent = self._SyncObj__raftNextIndex.get(node, next_index)
        transport._onMessageReceived(node, message)
        if self.is_leader:
            goes_on_at = next_index if message["reset"] else max(sent, next_index)
            self._SyncObj__raftNextIndex[node] = goes_on_at

    def raise_match(self, peer: int, index: int) -> None:
        """The entries up to `index` are durable at `peer`, and count now."""
        node = self._by_id[peer]
        match = self._SyncObj__raftMatchIndex
        match[node] = max(match.get(node, 0), index)

    def match_index(self, peer: int) -> int:
        """For a leader: up to where `peer` has this log, durably, as far as is known."""
        return int(self._SyncObj__raftMatchIndex.get(self._by_id[peer], 0))

    def next_index(self, peer: int) -> int:
        """For a leader: what it sends to `peer` next."""
        return int(self._SyncObj__raftNextIndex.get(self._by_id[peer], 0))

    def last_response(self, peer: int) -> float:
        """For a leader: when `peer` answered last."""
        return float(self._SyncObj__lastResponseTime.get(self._by_id[peer], 0.0))

    def excuse_followers(self, seconds: float) -> None:
        """This node itself was not running for so long: nobody could have answered."""
        times = self._SyncObj__lastResponseTime
        for node in times:
            times[node] += seconds

    def adopt_term(self, term: int) -> None:
        """Another node is in a later term: follow it there."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__setState(_FOLLOWER)
            self._SyncObj__raftLeader = None

    def step_down(self, deadline: float) -> None:
        """Stop leading in this term; stand again after `deadline` at the earliest."""
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = None
        self.election_deadline = deadline

    def hand_over(self) -> bool:
        """Ask the follower that has everything to stand for election; False if there is none."""
        reasons: list[int] = []
        self.transferLeadership(None, lambda _, reason: reasons.append(reason))
        return reasons == [FAIL_REASON.SUCCESS]

    def start_from(self, last_index: int) -> None:
        """The state machine has everything up to `last_index`, from a snapshot."""
        self._SyncObj__raftLastApplied = max(self.last_applied, last_index)
        self._SyncObj__raftCommitIndex = max(self.commit_index, last_index)

    def install(self, last_index: int) -> None:
        """The journal and the state machine were replaced by a snapshot up to `last_index`."""
        self._SyncObj__raftLastApplied = last_index
        self._SyncObj__raftCommitIndex = last_index
