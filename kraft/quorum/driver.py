"""One voter of the quorum: `metadata.log.MetadataLog` on pysyncobj, as a machine without a clock or a thread.

Whoever owns a driver feeds it events (a tick, a message, a link that opened or closed) and calls `tick` again
at `next_deadline`. All of that happens on one thread; the disk alone works aside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from kraft.quorum import ambient, guard
from kraft.quorum.commands import decode_batch, encode_batch
from kraft.quorum.compaction import Compaction
from kraft.quorum.config import QuorumConfig
from kraft.quorum.disk import DiskWorker
from kraft.quorum.elections import PASSED, Elections
from kraft.quorum.guarded import GuardedTransport
from kraft.quorum.journal import Journal
from kraft.quorum.links import Message, QuorumLinks
from kraft.quorum.messages import MalformedMessageError, parse
from kraft.quorum.proposals import Done, Proposal, Proposals
from kraft.quorum.raft import Raft
from kraft.quorum.reception import Incoming, Reception
from kraft.quorum.status import Counters, QuorumStatus, VoterStatus, in_sight
from kraft.quorum.stored import QuorumStore
from metadata.log import CommittedBatch, Leadership, MetadataLogListener, Outcome

Event = Callable[[], None]
_TICK = 1e-6
"""pysyncobj acts when a deadline lies in the past, not when it is reached."""


class QuorumDriver:
    """See the module. `clock` returns seconds that never go back; `rng` draws election timeouts.

    `on_reschedule` is called when `next_deadline` may have changed, `on_failure` when the disk, the listener
    or the driver failed: that has stopped, half done with an event, and the node has to stop as well.
    """

    def __init__(
        self,
        config: QuorumConfig,
        store: QuorumStore,
        listener: MetadataLogListener,
        links: QuorumLinks,
        disk: DiskWorker,
        clock: Callable[[], float],
        rng: ambient.Randomness,
    ) -> None:
        self._config = config
        self._peers = config.peers
        self._listener = listener
        self._links = links
        self._disk = disk
        self._clock = clock
        self._rng = rng
        self._store = store
        self.counters = Counters()
        self.on_reschedule: Callable[[], None] = lambda: None
        self.on_failure: Callable[[Exception], None] = _crash

        ambient.enter(clock(), rng)
        try:
            self._journal = Journal(store.entries, store.vote)
            self._compaction = Compaction(config, self._journal, store, listener, self.counters)
            self.log_end_of = self._compaction.log_end_of
            self._transport = GuardedTransport(links, self._journal, self._compaction.outgoing)
            self._raft = Raft(config, self._journal, self._transport, self._compaction.outgoing, self)
        finally:
            ambient.leave()
        self._elections = Elections(config, self._raft, self._journal, self._transport, links, rng)
        self._reception = Reception(
            config,
            self._raft,
            self._journal,
            self._transport,
            self._elections,
            self._compaction,
            self.counters,
        )
        self._proposals = Proposals(config.max_pending_proposals, config.max_pending_bytes)
        self._leadership = Leadership(self._raft.term, None)
        self._leading: int | None = None
        self._events: deque[Event] = deque()
        self._notices: deque[Callable[[], None]] = deque()
        self._inside = False
        self._stopped = False
        self._flight_began = math.inf
        self._now = self._last_tick = clock()

    # The port.

    @property
    def node_id(self) -> int:
        return self._config.node_id

    @property
    def leadership(self) -> Leadership:
        return self._leadership

    @property
    def next_offset(self) -> int:
        return self._compaction.next_offset

    @property
    def max_batch_bytes(self) -> int:
        return self._config.max_entry_bytes - 1 - len(encode_batch(0, 0, []))

    def propose(self, term: int, expected_offset: int, records: Sequence[bytes], done: Done) -> None:
        """See `metadata.log.MetadataLog`. Too large, or too many at once: REJECTED, nothing is appended."""
        command = encode_batch(term, expected_offset, records)
        proposal = Proposal(term, command, done)
        leading = None if self._stopped else self.leading_term
        accepted = guard.accepts_proposal(term, leading) and len(command) < self._config.max_entry_bytes
        if not (accepted and self._proposals.queue(proposal)):
            self._notices.append(partial(done, Outcome.REJECTED))
        if not self._inside:
            self.on_reschedule()

    # What the owner calls.

    def start(self) -> None:
        """Deliver the snapshot that is on disk and take the links over. Call once, before anything else."""
        self._compaction.start(self._raft, self._transport)
        self._links.on_connected = self.link_opened
        self._links.on_disconnected = self.link_closed
        self._links.on_message = self.receive
        if not self._peers:
            self._raft.election_deadline = PASSED
        for peer in sorted(self._links.connected()):
            self.link_opened(peer)
        self.tick()

    def stop(self) -> None:
        """Take no more events; proposals under way are UNKNOWN. The disk may still finish what it began."""
        if not self._stopped:
            self._stopped = True
            self._notices.extend(resolved.tell for resolved in self._proposals.abandon())
            self._report()

    @property
    def leading_term(self) -> int | None:
        """The term that this node leads, from its election on; `leadership` waits for earlier records."""
        return self._raft.term if self._raft.is_leader else None

    @property
    def term(self) -> int:
        """The latest term that this node knows of."""
        return self._raft.term

    @property
    def log(self) -> Journal:
        """The entries that are here, to be looked at."""
        return self._journal

    @property
    def applied_index(self) -> int:
        """The last entry that was delivered, or skipped."""
        return self._raft.last_applied

    @property
    def committed_index(self) -> int:
        """The last entry that is known to be committed."""
        return self._raft.commit_index

    def counted_entries(self) -> list[tuple[int, int]]:
        """For a leader: each peer, and the last entry that it is known to have."""
        return [(peer, self._raft.match_index(peer)) for peer in self._peers]

    @property
    def next_deadline(self) -> float:
        """When to call `tick` next; a time that has passed means at once."""
        if self._stopped or not self._may_go_on():
            return math.inf
        if self._notices or self._proposals.has_queued:
            return PASSED
        if not self._raft.is_leader:
            return self._raft.election_deadline + _TICK
        if not self._peers:
            return math.inf
        return min(self._raft.heartbeat_due, self._flight_began + self._config.disk_stall_timeout) + _TICK

    def tick(self) -> None:
        """Do what the time asks for."""
        self._handle(lambda: None)  # it has no event of its own

    def receive(self, peer: int, message: Message) -> None:
        """A message came in. What breaks the rules is dropped and counted, and its link closed."""
        self._handle(partial(self._received, peer, message))

    def link_opened(self, peer: int) -> None:
        """Messages can be exchanged with `peer`."""
        self._handle(partial(self._link_opened, peer))

    def link_closed(self, peer: int) -> None:
        """The link to `peer` is gone, and what was under way on it."""
        self._handle(partial(self._link_closed, peer))

    def resign(self) -> bool:
        """Hand leadership to the follower that has everything; False if there is none, or this node does not
        lead.
        """
        return not self._stopped and self._raft.hand_over()

    def status(self) -> QuorumStatus:
        """What this node knows of the quorum."""
        raft, own = self._raft, self._config.node_id
        now = self._clock()
        voters = [VoterStatus(own, self._journal.last_index + 1, now, now)]
        if raft.is_leader:
            for peer in self._peers:
                end, response = raft.match_index(peer) + 1, raft.last_response(peer)
                voters.append(VoterStatus(peer, end, response, self._reception.caught_up_at(peer)))
        return QuorumStatus(
            node_id=own,
            leader_id=in_sight(self._leadership.leader_id, own, self._links.connected()),
            term=raft.term,
            high_watermark=raft.commit_index + 1,
            next_offset=self.next_offset,
            log_start_offset=self._journal.first_index,
            voters=tuple(sorted(voters, key=lambda voter: voter.node_id)),
        )

    # Events, one at a time.

    def _handle(self, event: Event) -> None:
        if self._stopped:
            return
        self._events.append(event)
        if self._inside:
            return
        self._inside = True
        try:
            while self._events and not self._stopped:
                event = self._events.popleft()
                self._now = self._clock()
                ambient.enter(self._now, self._rng)
                try:
                    event()
                    self._advance(self._now)
                finally:
                    ambient.leave()
                self._report()
        except Exception as error:  # noqa: BLE001 - the root of all events: whoever brings one cannot mend it
            self._fail(error)
        finally:
            self._inside = False
        self.on_reschedule()

    def _report(self) -> None:
        while self._notices:
            self._notices.popleft()()

    def _received(self, peer: int, message: Message) -> None:
        try:
            parsed = parse(message)
        except MalformedMessageError:
            self.counters.malformed_messages += 1
            self._links.disconnect(peer)
            return
        incoming = Incoming(peer, parsed, self._now, self._disk_stalled(self._now))
        if peer not in self._peers or not self._reception.handle(incoming):
            self.counters.refused_messages += 1
            self._links.disconnect(peer)

    def _link_opened(self, peer: int) -> None:
        if peer in self._peers:
            self._transport._onNodeConnected(self._raft.node(peer))
            self._elections.link_opened(self._now)
            if self._raft.is_leader:
                self._raft.send_entries()

    def _link_closed(self, peer: int) -> None:
        if peer in self._peers:
            node = self._raft.node(peer)
            self._transport._onNodeDisconnected(node)
            self._compaction.outgoing.cancel(node)
            self._elections.link_closed(peer, self._now)

    # After each event.

    def _may_go_on(self) -> bool:
        """A quorum of one waits for its disk before the tick that commits."""
        return bool(self._peers) or guard.may_commit_alone(self._journal.written, self._journal.synced)

    def _disk_stalled(self, now: float) -> bool:
        return now - self._flight_began >= self._config.disk_stall_timeout

    def _advance(self, now: float) -> None:
        stalled = self._disk_stalled(now)
        if stalled and self._raft.is_leader and self._peers:
            self._raft.step_down(now + self._config.election_timeout_max)
        if self._may_go_on():
            self._excuse_own_absence(now)
            self._elections.before_tick(now, stalled)
            self._compaction.outgoing.allow_round(now)
            if self._raft.election_deadline == PASSED and not self._peers and not self._raft.is_leader:
                self._raft.elect_itself()
            else:
                self._tick()
        self._note_leadership()
        self._compact()
        self._flush(now)
        self._transport.release()

    def _excuse_own_absence(self, now: float) -> None:
        """A leader that did not run for a while lets its followers' answers come in before it counts them."""
        absence = now - self._last_tick
        self._last_tick = now
        if self._raft.is_leader and absence > 2 * self._config.heartbeat_interval:
            self._raft.excuse_followers(absence - self._config.heartbeat_interval)

    def _tick(self) -> None:
        raft = self._raft
        committed, term = raft.commit_index, raft.term
        raft.tick()
        if raft.term != term:
            self.counters.elections += 1
        appended = self._append_queued()
        if raft.is_leader and (appended or raft.commit_index != committed):
            raft.send_entries()

    def _append_queued(self) -> bool:
        leading = self.leading_term
        accepted: list[Proposal] = []
        for proposal in self._proposals.take_queued():
            if guard.accepts_proposal(proposal.term, leading):
                accepted.append(proposal)
            else:
                self._notices.append(self._proposals.forget(proposal, Outcome.REJECTED).tell)
        if accepted:
            first = self._raft.append([proposal.command for proposal in accepted])
            for index, proposal in enumerate(accepted, first):
                self._proposals.appended(index, proposal)
        return bool(accepted)

    def apply_entry(self, index: int, term: int, command: bytes) -> None:
        """Called by pysyncobj for each committed entry, in order."""
        outcome = Outcome.REJECTED
        batch = decode_batch(command)
        if batch is not None:
            if guard.lands(batch.term, batch.expected_offset, term, self.next_offset):
                committed = CommittedBatch(self.next_offset, term, batch.records)
                self._compaction.applied(index, len(batch.records), len(command))
                self._listener.on_committed(committed)
                outcome = Outcome.COMMITTED
            else:
                self.counters.skipped_entries += 1
        resolved = self._proposals.applied(index, term, outcome)
        if resolved is not None:
            self._notices.append(resolved.tell)

    def _note_leadership(self) -> None:
        raft = self._raft
        leading = self.leading_term
        if leading != self._leading:
            self._notices.extend(resolved.tell for resolved in self._proposals.abandon())
            self._reception.forget_acknowledgements()
            self._leading = leading
        leader = None if raft.is_leader and not raft.has_applied_own_no_op else raft.leader_id
        if (self._leadership.term, self._leadership.leader_id) != (raft.term, leader):
            self._leadership = Leadership(raft.term, leader)
            self._notices.append(partial(self._listener.on_leadership, self._leadership))

    # The disk.

    def _flush(self, now: float) -> None:
        if self._journal.has_changes and not self._journal.is_flying:
            changes = self._journal.take()
            self._flight_began = now
            self._disk.run(partial(self._store.apply, changes), partial(self._done, self._landed))

    def _landed(self) -> None:
        self._journal.landed()
        self._flight_began = math.inf
        self._reception.count_acknowledgements()

    def _compact(self) -> None:
        """Give the disk a snapshot to store, if there is one."""
        job = self._compaction.next_job()
        if job is not None:
            self._disk.run(job.work, partial(self._done, job.finished))

    def _done(self, event: Event, error: Exception | None) -> None:
        if error is None:
            self._handle(event)
        elif not self._stopped:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.stop()
        self.on_failure(error)


def _crash(error: Exception) -> None:
    raise error
