"""Rules of the whole cluster, each taken away from outside: the simulation has to notice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from chaos.planting import Mutant
from chaos.replication.mutants import ignore_divergence
from kafkawire.batch_header import BatchHeader
from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker import durability
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.log_directories import LogDirectories
from kraft.broker.transaction_verification import TransactionVerification
from kraft.controller.service import ControllerService, _Decided
from kraft.coordinator.group.classic_group import ClassicGroup, Member
from kraft.coordinator.host import Host, resolve
from kraft.coordinator.runtime import CoordinatorRuntime, _Loading
from kraft.coordinator.transaction.shard import TransactionShard
from kraft.coordinator.transaction.states import Transaction
from logstore import recovery
from logstore.aborted import AbortedTransaction
from logstore.integrity import Integrity
from logstore.log import Log
from logstore.producers import ProducerStates, RememberedBatch
from logstore.recovery import LogLoader
from logstore.scan import scan_headers
from logstore.slices import LogSlice
from logstore.storage import StorageError, Syncable
from metadata.controller import brokers, isr, partitions
from metadata.image import MetadataImage
from replication.client_read import ClientRead
from replication.isr import CommittedIsr, PendingExpand
from replication.leader import Leader
from replication.partition import Partition
from replication.settings import ReplicationSettings

_check = ProducerStates.check
_read = Partition.read
_trusted_segments = LogLoader._trusted_segments
_remove_brokers = partitions.remove_brokers
_propose_share = ControllerService._propose_share
_replication_settings = BrokerConfiguration.replication_settings


def _restore_nobody(*_: object) -> ProducerStates:
    return ProducerStates()


def _note_nothing(*_: object) -> None:
    return None


def _ask_nothing(*_: object) -> list[Any]:
    return []


def _accept_gaps(self: ProducerStates, header: BatchHeader) -> RememberedBatch | None:
    try:
        return _check(self, header)
    except KafkaError as error:
        if error.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
            return None
        raise


def _release_at_once(_: Host[Any], future: asyncio.Future[Any], reply: Any) -> None:
    resolve(future, reply)


def _commit_in_any_generation(
    self: ClassicGroup, generation: int, who: Any, *, transactional: bool
) -> Member | None:
    del generation, transactional
    return self.members.get(who.member_id)


def _whoever_it_was(self: TransactionShard, transactional_id: str, producer: object) -> Transaction:
    del producer
    return self._transactions[transactional_id]


def _up_to_the_high_watermark(self: Log, high_watermark: int) -> int:
    del self
    return high_watermark


def _none_aborted(self: Log, start: int, end: int) -> list[AbortedTransaction]:
    del self, start, end
    return []


def _trust_everything(self: LogLoader, recovery_point: int, clean: bool) -> int:
    del clean
    return _trusted_segments(self, recovery_point, True)


def _believe(_: Integrity, found: LogSlice, _offset: int) -> LogSlice:
    return found


def _scan_unchecked(file: Any, position: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    try:
        yield from scan_headers(file, position, end)
    except KafkaError:
        return


def _remove_as_if_clean(view: Any, broker_ids: frozenset[int], *, lost: bool = False) -> Any:
    del lost
    return _remove_brokers(view, broker_ids, lost=False)


def _read_to_the_end(self: Partition, *args: Any, **options: Any) -> ClientRead:
    high_watermark, self.high_watermark = self.high_watermark, self.log.end_offset
    try:
        return _read(self, *args, **options)
    finally:
        self.high_watermark = high_watermark


def _sync_what_can_be(files: Iterable[Syncable]) -> None:
    for file in files:
        try:
            file.sync()
        except StorageError:
            continue


def _anybody_is_eligible(*_: object) -> bool:
    return True


def _add_whoever_has_caught_up(self: Leader, broker: int, high_watermark: int, now: float) -> bool:
    isr, end = self.isr, self.followers[broker].end_offset
    if not isinstance(isr, CommittedIsr) or broker in isr.members or now < self.retry_isr_at:
        return False
    if end < max(high_watermark, self.start_offset):
        return False
    self.isr = PendingExpand(isr, broker, self.followers[broker].broker_epoch)
    return True


def _begin_with_nothing(self: CoordinatorRuntime[Any], index: int, partition: Partition) -> None:
    loading = _Loading(partition, partition.leader_epoch)
    self._places[index] = loading
    self._activate(loading, self._make_shard(index, loading.epoch))


def _go_by_the_own_file(self: BrokerConfiguration, image: MetadataImage, topic: str) -> ReplicationSettings:
    """Where that says 1."""
    return replace(_replication_settings(self, image, topic), min_insync_replicas=1)


def _answer_before_commit(
    self: ControllerService, state: Any, offset: int, share: Sequence[_Decided]
) -> None:
    for decided in share:
        resolve(decided.future, decided.reply)
    _propose_share(self, state, offset, share)


MUTANTS: Mapping[str, Mutant] = {
    "producers-forgotten": Mutant(
        "a restart forgets who wrote what: a batch that is sent again is stored again",
        ((recovery, "restore_producers", _restore_nobody), (recovery, "note_stored_batch", _note_nothing)),
    ),
    "sequence-gap-accepted": Mutant(
        "a batch is taken although the one before it is missing", ((ProducerStates, "check", _accept_gaps),)
    ),
    "coordinator-answers-early": Mutant(
        "an offset commit is acknowledged before the high watermark reaches it",
        ((Host, "_release", _release_at_once),),
    ),
    "stale-generation-commits": Mutant(
        "a member that lost its partitions goes on committing",
        ((ClassicGroup, "check_commit", _commit_in_any_generation),),
    ),
    "late-end-of-transaction": Mutant(
        "an EndTxn of an earlier epoch ends the present transaction",
        ((TransactionShard, "_of", _whoever_it_was),),
    ),
    "last-stable-offset-ignored": Mutant(
        "read_committed shows what is undecided or aborted",
        (
            (Log, "last_stable_offset", _up_to_the_high_watermark),
            (Log, "aborted_transactions", _none_aborted),
        ),
    ),
    "index-trusted-after-crash": Mutant(
        "after an unclean stop the files are believed", ((LogLoader, "_trusted_segments", _trust_everything),)
    ),
    "rot-accepted": Mutant(
        "recovery does not look at checksums", ((recovery, "scan_valid", _scan_unchecked),)
    ),
    "rot-served": Mutant(
        "what a disk has changed is read as if it was right", ((Integrity, "confirm", _believe),)
    ),
    "unclean-stop-keeps-isr": Mutant(
        "a broker that came back without its tail stays eligible",
        ((brokers, "remove_brokers", _remove_as_if_clean),),
    ),
    "read-past-high-watermark": Mutant(
        "consumers see what is not committed", ((Partition, "read", _read_to_the_end),)
    ),
    "failed-sync-ignored": Mutant(
        "a sync that failed is taken for one that did not", ((durability, "_sync_all", _sync_what_can_be),)
    ),
    "fenced-replica-in-isr": Mutant(
        "a fenced broker, or an earlier process of it, is taken into the ISR",
        (
            (isr, "_eligible", _anybody_is_eligible),
            (Leader, "proposes_to_add", _add_whoever_has_caught_up),
        ),
    ),
    "coordinator-never-loads": Mutant(
        "a new coordinator answers without having read what the one before it wrote",
        ((CoordinatorRuntime, "_begin", _begin_with_nothing),),
    ),
    "hanging-transaction": Mutant(
        "a transaction begins in a partition that its coordinator does not know of (KIP-890)",
        (
            (ProducerStates, "_check_verified", _note_nothing),
            (TransactionVerification, "questions", _ask_nothing),
        ),
    ),
    "controller-answers-early": Mutant(
        "a controller answers before what it decided is committed",
        ((ControllerService, "_propose_share", _answer_before_commit),),
    ),
    "diverging-follower-goes-on": Mutant(
        "a leader does not compare the last fetched epoch (KIP-595), in the whole cluster",
        ((Partition, "fetched_by", ignore_divergence),),
    ),
    "min-isr-of-the-own-file": Mutant(
        "brokers commit by a smaller min.insync.replicas than the controllers judge by (KIP-966)",
        ((BrokerConfiguration, "replication_settings", _go_by_the_own_file),),
    ),
    "namesake-checkpoints": Mutant(
        "after an unclean stop what was checkpointed of a deleted topic counts for one of its name",
        ((LogDirectories, "_forget_checkpoints", _note_nothing),),
    ),
}
