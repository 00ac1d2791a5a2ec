"""Leave to begin a transaction in a partition, asked of the transaction's coordinator (KIP-890, first part).

A batch that would open a transaction is appended only when the coordinator has said that the partition is
part of it: otherwise nobody would ever send the marker that closes it, and the last stable offset would hang.
Between question and answer the transaction may end. Its marker takes the question back, so that an answer
which is late opens nothing.

Of a producer that is not known any sequence may come first. Where the first batch that it sent is refused for
now, since the coordinator is away, the next one on its way must not take its place: the first would be out of
order for ever. Hence the lowest sequence that was asked for is kept until a batch is written, or a marker.
Source: Kafka's `VerificationGuard` and `VerificationStateEntry`.
"""

from __future__ import annotations

NO_SEQUENCE = -1


class Verification:
    """One question, compared by identity."""

    __slots__ = ("epoch", "producer_id")

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch


class _First:
    """The lowest sequence that a producer epoch asked for. `seen_ms` is when `expire` first met it."""

    __slots__ = ("epoch", "seen_ms", "sequence")

    def __init__(self, epoch: int, sequence: int) -> None:
        self.epoch = epoch
        self.sequence = sequence
        self.seen_ms: int | None = None


class Verifications:
    """The questions that are open in one partition, the leaves that were not used yet, and what they were
    asked for."""

    __slots__ = ("_asked", "_first", "_granted")

    def __init__(self) -> None:
        self._asked: dict[int, Verification] = {}
        self._granted: dict[int, int] = {}
        self._first: dict[int, _First] = {}

    def __len__(self) -> int:
        return len(self._asked) + len(self._granted) + len(self._first)

    def ask(self, producer_id: int, epoch: int, sequence: int = NO_SEQUENCE) -> Verification:
        """Begin to ask, for a batch that begins with `sequence`. An earlier question of the same producer
        epoch goes on as this one; one of an older epoch is taken back, and gets no leave any more."""
        if sequence != NO_SEQUENCE:
            first = self._first.get(producer_id)
            if first is None or (first.epoch, -first.sequence) < (epoch, -sequence):
                self._first[producer_id] = _First(epoch, sequence)
        known = self._asked.get(producer_id)
        if known is not None and known.epoch == epoch:
            return known
        verification = Verification(producer_id, epoch)
        if known is None or known.epoch < epoch:
            self._asked[producer_id] = verification
        return verification

    def grant(self, verification: Verification) -> bool:
        """The coordinator agrees; False if the question was taken back meanwhile."""
        if self._asked.get(verification.producer_id) is not verification:
            return False
        self._granted[verification.producer_id] = verification.epoch
        return True

    def is_granted(self, producer_id: int, epoch: int) -> bool:
        """Whether this producer epoch may open a transaction."""
        return self._granted.get(producer_id) == epoch

    def overtakes(self, producer_id: int, epoch: int, sequence: int) -> bool:
        """Whether a batch that begins with `sequence` would be written before one that was asked for."""
        first = self._first.get(producer_id)
        return first is not None and first.epoch == epoch and first.sequence < sequence

    def take_back(self, producer_id: int) -> None:
        """The question came to nothing, or is not needed any more."""
        self._asked.pop(producer_id, None)
        self._granted.pop(producer_id, None)

    def forget(self, producer_id: int) -> None:
        """The transaction has begun, or one has ended."""
        self.take_back(producer_id)
        self._first.pop(producer_id, None)

    def expire(self, now_ms: int, expiration_ms: int) -> None:
        """Forget what was asked for long ago and never written."""
        for producer_id, first in tuple(self._first.items()):
            if first.seen_ms is None:
                first.seen_ms = now_ms
            elif now_ms - first.seen_ms >= expiration_ms:
                del self._first[producer_id]
