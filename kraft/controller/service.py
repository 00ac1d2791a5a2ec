"""The controller's shell: commands in, records through the quorum, replies out when they are committed.

While this node leads the quorum a `Controller` decides on a speculative image: the committed one with
everything that is in flight applied. So a command need not wait for the ones before it; what was decided in
one turn of the event loop shares one proposal. A proposal names the term and the offset it was decided for,
and is void anywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.clock import Clock
from kraft.events import Events
from metadata.calls import not_controller
from metadata.controller.commands import Command, Reply, Tick
from metadata.controller.controller import Controller
from metadata.controller.decision import ControllerConfig, Decision
from metadata.image import MetadataImage
from metadata.loader import MetadataLoader
from metadata.log import CommittedBatch, Leadership, MetadataLog, Outcome, batch_bytes
from metadata.serde import MAX_RECORD_BYTES, encode_record

MAX_IN_FLIGHT = 2000
"""Commands that wait for their commit; more are refused until some are through."""
SHORTEST_WAIT = 0.005
"""Seconds between two looks at what time alone brings about."""
LATE = 0.05
"""Seconds after which a look comes so late that brokers may have been heard, had this process run."""
MAX_RECORDS_PER_PROPOSAL = 2000
MAX_RECENT_BATCHES = 10_000
MAX_RECENT_BYTES = 16 * 1024 * 1024
"""What is kept in memory for brokers that are behind; who is further behind gets a snapshot."""


class _Decided(msgspec.Struct, frozen=True):
    """A decision, its records as bytes, and whom to answer. `size` is what it takes of a proposal."""

    reply: Reply
    records: Sequence[bytes]
    size: int
    future: asyncio.Future[Reply]


class _Active(msgspec.Struct):
    """This node leads the quorum in `term`. `speculative` is the image that the next decision sees."""

    term: int
    controller: Controller
    speculative: MetadataImage
    deciding: list[_Decided] = msgspec.field(default_factory=list)
    in_flight: int = 0


class _Standby(msgspec.Struct, frozen=True):
    """Somebody else leads, or nobody."""


class ControllerService:
    """Implements `MetadataLogListener`; one for each controller node."""

    def __init__(self, config: ControllerConfig, clock: Clock, rng: random.Random) -> None:
        self.leadership = Leadership(0, None)
        self._config = config
        self._clock = clock
        self._rng = rng
        self._loader = MetadataLoader()
        self._log: MetadataLog | None = None
        self._state: _Active | _Standby = _Standby()
        self._observers: list[Callable[[], None]] = []
        self._batches: deque[CommittedBatch] = deque()
        self._batches_bytes = 0
        self._wake = asyncio.Event()
        self._wakes_at = math.inf
        self.resigned = asyncio.Event()
        """Set while this node is not active."""
        self.resigned.set()
        self._events = Events("controller")

    def attach(self, log: MetadataLog) -> None:
        """The log whose listener this is."""
        self._log = log

    @property
    def image(self) -> MetadataImage:
        """The committed metadata."""
        return self._loader.image

    @property
    def node_id(self) -> int:
        """This controller's."""
        assert self._log is not None
        return self._log.node_id

    @property
    def active(self) -> bool:
        return isinstance(self._state, _Active)

    def metadata_offset(self, broker_id: int) -> int:
        """The last metadata offset that the broker said to have applied, -1 where this node does not know."""
        state = self._state
        return state.controller.metadata_offset(broker_id) if isinstance(state, _Active) else -1

    def observe(self, changed: Callable[[], None]) -> None:
        """Be told of every change of `image` or `leadership`."""
        self._observers.append(changed)

    def batches_from(self, offset: int) -> list[CommittedBatch] | None:
        """The committed batches that bring an image at `offset` up to date; None if only a snapshot can."""
        if offset > self.image.next_offset:
            return None
        wanted: list[CommittedBatch] = []
        first = self.image.next_offset
        for batch in reversed(self._batches):
            if first <= offset:
                break
            wanted.append(batch)
            first = batch.first_offset
        wanted.reverse()
        return wanted if first <= offset else None

    # -- the log ----------------------------------------------------------------------------------

    def on_committed(self, batch: CommittedBatch) -> None:
        """See `MetadataLogListener`."""
        before = self.image
        self._loader.on_committed(batch)
        if before.brokers is not self.image.brokers and self.leadership.leader_id is not None:
            self._announce(before)
        self._keep(batch)
        self._tell()

    def _keep(self, batch: CommittedBatch) -> None:
        kept = self._batches
        kept.append(batch)
        self._batches_bytes += batch_bytes(batch.records)
        while len(kept) > MAX_RECENT_BATCHES or (self._batches_bytes > MAX_RECENT_BYTES and len(kept) > 1):
            self._batches_bytes -= batch_bytes(kept.popleft().records)

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        """See `MetadataLogListener`."""
        self._loader.on_snapshot(snapshot, next_offset)
        self._batches.clear()
        self._batches_bytes = 0
        self._tell()

    def take_snapshot(self) -> bytes:
        """See `MetadataLogListener`."""
        return self._loader.take_snapshot()

    def on_leadership(self, leadership: Leadership) -> None:
        """See `MetadataLogListener`."""
        self.leadership = leadership
        assert self._log is not None
        self._resign()
        if leadership.leader_id == self._log.node_id:
            self._activate()
        self._tell()

    def _announce(self, before: MetadataImage) -> None:
        for broker_id, broker in self.image.brokers.items():
            was = before.brokers.get(broker_id)
            if was is None or was.state is not broker.state or was.epoch != broker.epoch:
                self._events.info("broker.is", broker=broker_id, state=broker.state.value, epoch=broker.epoch)

    def _tell(self) -> None:
        for changed in tuple(self._observers):  # some have seen what they waited for, and leave
            changed()

    def _activate(self) -> None:
        now = self._clock.monotonic()
        term = self.leadership.term
        controller = Controller(self._config, self.image, term, now, self._rng)
        self._state = state = _Active(term, controller, self.image)
        self.resigned.clear()
        beginning = controller.begin(self.image)
        if beginning.records:
            nobody: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self._accept(state, beginning, _encoded(beginning, nobody))
        self._look_at(controller, now)
        self._events.info("controller.active", term=term, offset=self.image.offset)

    def _resign(self) -> None:
        state, self._state = self._state, _Standby()
        self.resigned.set()
        if isinstance(state, _Active):
            self._events.info("controller.resigned", term=state.term)
            for decided in state.deciding:
                _fail(decided.future, self.not_active())

    def not_active(self) -> KafkaError:
        """NOT_CONTROLLER; the message is the id of the controller that is active, or empty."""
        leader_id = self.leadership.leader_id
        return not_controller(None if leader_id == self.node_id else leader_id)

    # -- commands ---------------------------------------------------------------------------------

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        """Decide at once; the future has the reply when its records are committed.

        It fails with KafkaError NOT_CONTROLLER where another node has to be asked, also when leadership was
        lost before the commit: the command may then still come into effect. What is too large for the log is
        refused here: the log would take it for lost, and everything in flight with it.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        state = self._state
        if not isinstance(state, _Active):
            future.set_exception(self.not_active())
            return future
        if state.in_flight >= MAX_IN_FLIGHT:
            future.set_exception(
                KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "too many commands in flight")
            )
            return future
        now = self._clock.monotonic()
        try:
            decision = state.controller.decide(state.speculative, command, now, self._clock.wall_ms())
            decided = self._fitting(command, _encoded(decision, future))
        except KafkaError as error:
            future.set_exception(error)
            return future
        self._accept(state, decision, decided)
        self._look_at(state.controller, now)
        return future

    def _fitting(self, command: Command, decided: _Decided) -> _Decided:
        """The same. Raises KafkaError(POLICY_VIOLATION) if the log can not take it."""
        assert self._log is not None
        longest = max(map(len, decided.records), default=0)
        if decided.size > self._log.max_batch_bytes or longest > MAX_RECORD_BYTES:
            self._events.warning("controller.too_large", command=type(command).__name__, bytes=decided.size)
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, "Unable to perform excessively large batch operation."
            )
        return decided

    def _accept(self, state: _Active, decision: Decision[Reply], decided: _Decided) -> None:
        if decision.records:
            state.speculative = state.speculative.apply(decision.records, state.speculative.next_offset)
        if not state.deciding:
            asyncio.get_running_loop().call_soon(self._propose, state)
        state.deciding.append(decided)
        state.in_flight += 1

    def _propose(self, state: _Active) -> None:
        """Put everything decided in this turn into as few proposals as its size allows."""
        if self._state is not state:
            return
        assert self._log is not None
        waiting, state.deciding = state.deciding, []
        offset = state.speculative.next_offset - sum(len(decided.records) for decided in waiting)
        while waiting:
            count = records = size = 0
            for decided in waiting:
                size += decided.size
                if count and (records >= MAX_RECORDS_PER_PROPOSAL or size > self._log.max_batch_bytes):
                    break
                records += len(decided.records)
                count += 1
            share, waiting = waiting[:count], waiting[count:]
            self._propose_share(state, offset, share)
            offset += records

    def _propose_share(self, state: _Active, offset: int, share: Sequence[_Decided]) -> None:
        assert self._log is not None
        records = [record for decided in share for record in decided.records]

        def done(outcome: Outcome) -> None:
            state.in_flight -= len(share)
            if outcome is Outcome.COMMITTED:
                for decided in share:
                    if not decided.future.done():
                        decided.future.set_result(decided.reply)
                return
            self._void(state, outcome)
            for decided in share:
                _fail(decided.future, self.not_active())

        if records:
            self._log.propose(state.term, offset, records, done)
        else:
            # A reply that changes nothing still waits for its turn: it may rest on what is in flight before
            # it.
            self._after_in_flight(state, done)

    def _after_in_flight(self, state: _Active, done: Callable[[Outcome], None]) -> None:
        wanted = state.speculative.next_offset
        if self.image.next_offset >= wanted:
            done(Outcome.COMMITTED)
            return

        def look() -> None:
            if self._state is not state:
                self._observers.remove(look)
                done(Outcome.UNKNOWN)
            elif self.image.next_offset >= wanted:
                self._observers.remove(look)
                done(Outcome.COMMITTED)

        self._observers.append(look)

    def _void(self, state: _Active, outcome: Outcome) -> None:
        """A proposal was lost, so what was decided on top of it is void as well: begin again from what is
        committed, if this node still leads."""
        if self._state is not state:
            return
        self._events.warning("controller.proposal_lost", term=state.term, outcome=outcome.name)
        self._resign()
        assert self._log is not None
        if self._log.leadership == Leadership(state.term, self._log.node_id):
            self._activate()

    # -- time -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let the controller act when its deadlines come, until cancelled."""
        due = math.inf
        while True:
            self._wake.clear()
            due = self._wakes_at = self._tick(due)
            delay = max(self._wakes_at - self._clock.monotonic(), SHORTEST_WAIT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if delay == math.inf else delay):
                    await self._wake.wait()

    def _look_at(self, controller: Controller, now: float) -> None:
        if controller.next_deadline(now) < self._wakes_at:
            self._wakes_at = -math.inf  # once is enough until `run` has looked
            self._wake.set()

    def _tick(self, due: float) -> float:
        """Have the controller do what is due, which was to be looked at when it was `due`; returns when to
        look again."""
        match self._state:
            case _Active(controller=controller):
                now = self._clock.monotonic()
                if now - due > LATE:
                    controller.was_away(now, now - due)
                if controller.next_deadline(now) <= now:
                    self.submit(Tick()).add_done_callback(_ignore_failure)
                return controller.next_deadline(now)
            case _Standby():
                return math.inf
            case _:
                assert_never(self._state)


def _encoded(decision: Decision[Reply], future: asyncio.Future[Reply]) -> _Decided:
    records = [encode_record(record) for record in decision.records]
    return _Decided(decision.reply, records, batch_bytes(records), future)


def _fail(future: asyncio.Future[Reply], error: KafkaError) -> None:
    if not future.done():
        future.set_exception(error)
        # Whoever asked may be gone; the failure is then nobody's.
        future.exception()


def _ignore_failure(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()
