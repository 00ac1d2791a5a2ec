"""Producers and consumers of a simulated cluster, and how a broker serves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from chaos.replication.world import TOPIC
from chaos.virtual_time import EPOCH_MS
from kafkawire.batch_builder import build_batch
from kafkawire.errors import ErrorCode, KafkaError
from replication.partition import Partition

if TYPE_CHECKING:
    from chaos.replication.broker import BrokerProcess, Cluster

ALL = -1
LEADER_ONLY = 1
REQUEST_TIMEOUT = 0.6
"""What a producer gives its request on the broker; it waits a little longer itself."""
BACKOFF = 0.05
WINDOW = 3
"""Batches in flight; one until the first is acknowledged, since a broker that does not know a producer takes
any sequence from it."""
SMALL_SEGMENT = 100_000
MAX_READ = 2000


class Produced(NamedTuple):
    """A broker's answer to a produce request."""

    error: ErrorCode
    first_offset: int


class _Waiting:
    """An acks=all request on a broker (see `Acknowledgement`)."""

    def __init__(
        self, process: BrokerProcess, first: int, end: int, answer: Callable[[Produced], None]
    ) -> None:
        self._process = process
        self._first = first
        self._end = end
        self._answer = answer

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:
        if error is ErrorCode.NONE:
            self._process.cluster.invariants.acknowledged(partition, self._first, self._end)
        self._answer(Produced(error, self._first))


def produce(
    process: BrokerProcess, index: int, batch: bytes, acks: int, answer: Callable[[Produced], None]
) -> None:
    """What `kraft.broker.handlers.produce` does with one batch."""
    now = process.now
    try:
        partition = process.replicas.find(TOPIC, index)
        appended = partition.append(memoryview(bytearray(batch)), acks, now, EPOCH_MS)
    except KafkaError as error:
        answer(Produced(error.code, -1))
        return
    process.cluster.invariants.appended(partition)
    end = appended.last_offset + 1
    if acks == ALL:
        waiting = _Waiting(process, appended.first_offset, end, answer)
        if partition.await_commit(end, now + REQUEST_TIMEOUT, waiting):
            waiting.acknowledged(partition, ErrorCode.NONE)
    else:
        answer(Produced(ErrorCode.NONE, appended.first_offset))


class Producer:
    """Writes `total` batches to one partition: with acks=all as an idempotent producer, else without a
    sequence."""

    def __init__(self, cluster: Cluster, client_id: int, index: int, acks: int, total: int) -> None:
        self._cluster = cluster
        self._client_id = client_id
        self._index = index
        self._acks = acks
        self._total = total
        self._acknowledged = 0
        self._sent = 0
        self._done_early: set[int] = set()
        self._attempt = 0
        self._leader = 1

    @property
    def done(self) -> bool:
        return self._acknowledged == self._total

    def begin(self) -> None:
        self._pump()

    def _window(self) -> int:
        # A log that is opened again remembers more than a producer's last batch only within one segment.
        one = self._cluster.settings.shape.segment_bytes < SMALL_SEGMENT
        return WINDOW if self._acks == ALL and self._acknowledged and not one else 1

    def _pump(self) -> None:
        while self._sent < self._total and self._sent - self._acknowledged < self._window():
            self._send(self._sent)
            self._sent += 1

    def _send(self, sequence: int) -> None:
        cluster = self._cluster
        idempotent = self._acks == ALL
        batch = build_batch(
            [(EPOCH_MS, None, b"%d:%d" % (self._client_id, sequence))],
            producer_id=self._client_id if idempotent else -1,
            producer_epoch=0 if idempotent else -1,
            base_sequence=sequence if idempotent else -1,
        )
        attempt = self._attempt
        leader_id = self._leader
        cluster.links.send(
            self._client_id,
            leader_id,
            self._arrive,
            leader_id,
            batch,
            attempt,
            sequence,
            lane=(self._client_id, leader_id, attempt),
        )
        when = cluster.queue.time() + REQUEST_TIMEOUT + 0.2
        cluster.queue.call_at(when, self._timed_out, attempt, sequence)

    def _arrive(self, leader_id: int, batch: bytes, attempt: int, sequence: int) -> None:
        process = self._cluster.process(leader_id)

        def answer(produced: Produced) -> None:
            self._cluster.links.send(leader_id, self._client_id, self._answered, attempt, sequence, produced)

        if process is None:
            answer(Produced(ErrorCode.NETWORK_EXCEPTION, -1))
        else:
            process.enter(produce, process, self._index, batch, self._acks, answer)

    def _answered(self, attempt: int, sequence: int, produced: Produced) -> None:
        if attempt != self._attempt or sequence < self._acknowledged:
            return
        if produced.error is not ErrorCode.NONE:
            self._cluster.trace.note("refused", self._client_id, sequence, produced.error.name)
            self._fail()
            return
        self._done_early.add(sequence)
        while self._acknowledged in self._done_early:
            self._done_early.remove(self._acknowledged)
            self._acknowledged += 1
        pause = self._cluster.rng.random() * 0.1
        self._cluster.queue.call_at(self._cluster.queue.time() + pause, self._pump)

    def _timed_out(self, attempt: int, sequence: int) -> None:
        if attempt == self._attempt and sequence >= self._acknowledged and sequence not in self._done_early:
            self._fail()

    def _fail(self) -> None:
        """Begin anew from the first batch that is not acknowledged, on a new connection."""
        self._attempt += 1
        self._done_early.clear()
        self._cluster.queue.call_at(
            self._cluster.queue.time() + BACKOFF * (1 + self._cluster.rng.random()), self._retry
        )

    def _retry(self) -> None:
        self._leader = believed_leader(self._cluster, self._index)
        self._sent = self._acknowledged
        self._pump()


def believed_leader(cluster: Cluster, index: int) -> int:
    """The leader as some broker, perhaps behind, tells a client."""
    rng = cluster.rng
    asked = cluster.process(rng.randint(1, len(cluster.machines)))
    image = cluster.controller.image if asked is None or asked.image is None else asked.image
    partition = image.topics.partition(TOPIC, index)
    if partition is None or not partition.has_leader:
        return rng.randint(1, len(cluster.machines))
    return partition.leader


class Consumer:
    """Reads one partition from its beginning; now and then asks where it ends."""

    def __init__(self, cluster: Cluster, client_id: int, index: int) -> None:
        self._cluster = cluster
        self._client_id = client_id
        self._index = index
        self._position = 0
        self.running = True

    def begin(self) -> None:
        cluster = self._cluster
        leader_id = believed_leader(cluster, self._index)
        cluster.links.send(self._client_id, leader_id, self._arrive, leader_id)
        if self.running:
            cluster.queue.call_at(cluster.queue.time() + 0.1 + 0.3 * cluster.rng.random(), self.begin)

    def _arrive(self, leader_id: int) -> None:
        process = self._cluster.process(leader_id)
        if process is not None:
            process.enter(self._look, process)

    def _look(self, process: BrokerProcess) -> None:
        invariants = self._cluster.invariants
        try:
            partition = process.replicas.find(TOPIC, self._index)
            if self._cluster.rng.random() < 0.4:
                end = partition.latest_offset(read_committed=False)
                invariants.told_end(partition, end)
                return
            read = partition.read(self._position, MAX_READ)
        except KafkaError as error:
            if error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
                invariants.out_of_range(partition, self._position)
            return
        end = invariants.read(partition, self._position, read)
        self._cluster.links.send(process.broker_id, self._client_id, self._advance, end)

    def _advance(self, end: int) -> None:
        self._position = max(self._position, end)
