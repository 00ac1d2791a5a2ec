"""The transactional producer: records of many partitions, and a group's offsets, all or none (KIP-98).

Where the cluster has finalized `transaction.version` 2, partitions become part of a transaction as they
are written to, and every transaction has an epoch of its own (KIP-890); else a request adds each partition.
Errors are told apart as Kafka's producer does: after a fatal one there is nothing left but to close, after
an abortable one the transaction has to be aborted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client import transaction_requests as requests
from kraft.client.batches import Delivery, Producer
from kraft.client.cluster import Cluster
from kraft.client.coordinators import Coordinator, CoordinatorType, top_error
from kraft.client.errors import AbortableTransactionError, FatalTransactionError, OutcomeUnknownError
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.membership import GroupMetadata
from kraft.client.offset_lookup import Found, TopicPartition
from kraft.client.outbox import ClockMs, Headers, Outbox, ignore, wall_clock_ms

_FATAL_PRODUCE = frozenset(
    {
        ErrorCode.PRODUCER_FENCED,
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
        ErrorCode.UNSUPPORTED_VERSION,
    }
)
"""After these replies to Produce; INVALID_PRODUCER_EPOCH is not among them, for a coordinator to decide
(KIP-588)."""

_FATAL = _FATAL_PRODUCE | {ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_TXN_STATE}
"""After these replies of a coordinator."""


class TransactionOptions(msgspec.Struct, frozen=True):
    """Times are seconds. `timeout` is how long a transaction may be open before the coordinator aborts it,
    `step_timeout` how long each request to a coordinator is tried. `version` is the newest
    `transaction.version` to go by, if the cluster has it."""

    timeout: float = 60.0
    step_timeout: float = 60.0
    version: int = 2


class Uninitialized(msgspec.Struct, frozen=True):
    """It has to be, or once more: how the last transaction ended is not known."""


class Ready(msgspec.Struct, frozen=True):
    """No transaction is open."""


class Open(msgspec.Struct, frozen=True):
    """A transaction is."""


class Broken(msgspec.Struct, frozen=True):
    """A transaction is open that can only be aborted."""

    error: KafkaError


class Dead(msgspec.Struct, frozen=True):
    """Only closing is left."""

    error: KafkaError


State = Uninitialized | Ready | Open | Broken | Dead


class TransactionalProducer:
    """Use it as an async context manager; leaving it aborts an open transaction.

    `init`, then again and again `begin`, `send` and `send_offsets`, `commit` or `abort`, by one task. These
    raise FatalTransactionError, AbortableTransactionError, OutcomeUnknownError, all of them KafkaErrors, and
    ValueError where they are called out of turn.
    """

    def __init__(
        self,
        cluster: Cluster,
        transactional_id: str,
        options: ProducerOptions | None = None,
        transactions: TransactionOptions | None = None,
        *,
        on_acknowledged: Callable[[Acknowledged], None] | None = None,
        clock_ms: ClockMs = wall_clock_ms,
    ) -> None:
        self.cluster = cluster
        self.transactional_id = transactional_id
        self.options = options or ProducerOptions()
        self.transactions = transactions or TransactionOptions()
        self.state: State = Uninitialized()
        self._outbox = Outbox(
            *(cluster, self.options, self._identity, on_acknowledged or ignore, self._lane_failed, clock_ms)
        )
        self._coordinator = Coordinator(cluster, CoordinatorType.TRANSACTION, transactional_id)
        self._groups: dict[str, Coordinator] = {}
        self._producer = requests.NOBODY
        self._implicit = False
        """Whether brokers add partitions as they are written to, and each transaction has its own epoch."""
        self._begun = False
        """Whether the coordinator may know of the open transaction."""
        self._added: set[TopicPartition] = set()
        self._adding = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            orderly = error is None or isinstance(error, Exception)
            if orderly and isinstance(self.state, Open | Broken):
                await self.abort()
        except KafkaError:
            if error is None:
                raise
        finally:
            await self._outbox.close()
            for coordinator in (self._coordinator, *self._groups.values()):
                coordinator.close()

    async def init(self) -> None:
        """Take the transactional id over: whoever had it before is fenced, and what it left open is aborted,
        which this waits for."""
        if not isinstance(self.state, Uninitialized | Ready):
            raise self._out_of_turn("init")
        self.state = Uninitialized()
        await self._init(requests.NOBODY)
        self.state = Ready()

    async def _init(self, producer: Producer) -> None:
        request = requests.init_request(self.transactional_id, self.transactions.timeout, producer)
        try:
            response = await self._ask(ApiKey.INIT_PRODUCER_ID, request, top_error)
        except KafkaError as error:
            if error.code in _FATAL:
                raise self._dead(error) from error
            raise
        self._producer = Producer(response.producer_id, response.producer_epoch)
        connection = self._coordinator.connected()
        features = {} if connection is None else connection.features
        self._implicit = min(features.get("transaction.version", 0), self.transactions.version) >= 2
        newest = APIS[ApiKey.PRODUCE].max_version if self._implicit else 11
        self._outbox.write_transactions(self.transactional_id, newest)

    def begin(self) -> None:
        """Open a transaction. Nothing is sent yet."""
        if isinstance(self.state, Dead):
            raise _fatal(self.state.error)
        if not isinstance(self.state, Ready):
            raise self._out_of_turn("begin")
        self.state = Open()
        self._begun = False
        self._added.clear()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> Delivery:
        """Put a record into its partition's lane, as part of the transaction (see `IdempotentProducer`)."""
        self._must_be_open()
        if partition is None:
            partition = await self._outbox.partition_for(topic, key)
        if not self._implicit and (topic, partition) not in self._added:
            await self._add(TopicPartition(topic, partition))
        self._begun = True
        try:
            return await self._outbox.add(topic, partition, key, value, timestamp_ms, headers)
        except KafkaError:
            self._must_be_open()  # says what kind of error it is
            raise

    async def _add(self, partition: TopicPartition) -> None:
        async with self._adding:
            if partition not in self._added:
                request = requests.add_partition_request(self.transactional_id, self._producer, partition)
                await self._step(
                    self._ask(ApiKey.ADD_PARTITIONS_TO_TXN, request, requests.add_partition_error)
                )
                self._added.add(partition)

    async def send_offsets(self, offsets: Mapping[TopicPartition, int | Found], group: GroupMetadata) -> None:
        """Have the group's offsets committed with the transaction; `group` is the consumer's
        `group_metadata`, by which a member that lost its partitions is refused (KIP-447)."""
        self._must_be_open()
        if not offsets:
            return
        self._begun = True
        if not self._implicit:
            request = requests.add_offsets_request(self.transactional_id, self._producer, group.group_id)
            await self._step(self._ask(ApiKey.ADD_OFFSETS_TO_TXN, request, top_error))
        coordinator = self._groups.get(group.group_id)
        if coordinator is None:
            coordinator = Coordinator(self.cluster, CoordinatorType.GROUP, group.group_id)
            self._groups[group.group_id] = coordinator
        found = {
            each: Found(offset) if isinstance(offset, int) else offset for each, offset in offsets.items()
        }
        request = requests.offsets_request(self.transactional_id, self._producer, group, found)
        await self._step(
            coordinator.ask(
                ApiKey.TXN_OFFSET_COMMIT,
                request,
                requests.offsets_error,
                self.transactions.step_timeout,
                newest=None if self._implicit else 4,
            )
        )

    async def commit(self) -> None:
        """Send what is left and commit.

        Raises AbortableTransactionError or FatalTransactionError if it surely is not committed, and
        OutcomeUnknownError if it may be: then only `init` is allowed, after which it is committed or aborted.
        """
        self._must_be_open()
        try:
            await self._outbox.flush()
        except KafkaError as error:
            self._break(error, _FATAL_PRODUCE)
        self._must_be_open()
        if self._begun:
            await self._end(commit=True)
        self.state = Ready()

    async def abort(self) -> None:
        """Drop what is not sent and abort. Raises FatalTransactionError, or OutcomeUnknownError if the
        transaction may be open still: then only `init` is allowed, which aborts it."""
        if isinstance(self.state, Dead):
            raise _fatal(self.state.error)
        if not isinstance(self.state, Open | Broken):
            raise self._out_of_turn("abort")
        was_broken = isinstance(self.state, Broken)
        # Late records of this epoch are refused after the abort, so that there is no need to wait for them.
        patience = 0.0 if self._implicit else self.cluster.options.request_timeout
        aborted = KafkaError(ErrorCode.TRANSACTION_ABORTABLE, "the transaction is aborted")
        sequences_lost = was_broken or not self._outbox.is_empty
        await self._outbox.abandon(aborted, patience)
        if self._begun:
            await self._end(commit=False)
        if sequences_lost and not self._implicit:
            self.state = Uninitialized()
            await self._init(self._producer)
        self.state = Ready()

    async def _end(self, *, commit: bool) -> None:
        request = requests.end_request(self.transactional_id, self._producer, commit=commit)
        try:
            response = await self._ask(ApiKey.END_TXN, request, top_error, None if self._implicit else 4)
        except OutcomeUnknownError as error:
            self.state = Dead(error) if error.code in _FATAL else Uninitialized()
            raise
        except KafkaError as error:
            self._break(error, _FATAL)
            self._must_be_open()
        else:
            if self._implicit and response.producer_id >= 0:
                self._producer = Producer(response.producer_id, response.producer_epoch)

    # -- errors -----------------------------------------------------------------------------------

    async def _ask(self, key: ApiKey, request: Any, check: Any, newest: int | None = None) -> Any:
        return await self._coordinator.ask(key, request, check, self.transactions.step_timeout, newest=newest)

    async def _step(self, asking: Any) -> None:
        """A request within the transaction: what became of one that failed is settled by aborting."""
        try:
            await asking
        except KafkaError as error:
            self._break(error, _FATAL)
            self._must_be_open()

    async def _identity(self) -> Producer:
        return self._producer

    def _lane_failed(self, error: KafkaError) -> None:
        self._break(error, _FATAL_PRODUCE)

    def _break(self, error: KafkaError, fatal: frozenset[ErrorCode]) -> None:
        """The first error of a transaction counts, but for a fatal one after it."""
        if error.code in fatal:
            self._dead(error)
        elif isinstance(self.state, Open):
            self.state = Broken(error)

    def _dead(self, error: KafkaError) -> FatalTransactionError:
        if not isinstance(self.state, Dead):
            self.state = Dead(error)
        return _fatal(error)

    def _must_be_open(self) -> None:
        match self.state:
            case Open():
                return
            case Broken(error):
                raise AbortableTransactionError(error.code, error.message) from error
            case Dead(error):
                raise _fatal(error) from error
            case Uninitialized() | Ready():
                raise self._out_of_turn("no transaction is open")

    def _out_of_turn(self, what: str) -> ValueError:
        return ValueError(f"{what} (state: {self.state})")


def _fatal(error: KafkaError) -> FatalTransactionError:
    return FatalTransactionError(error.code, error.message)
