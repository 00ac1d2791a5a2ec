"""Leave to begin a transaction in a partition, asked of the transaction's coordinator (KIP-890, first part).

A batch that would open a transaction is appended only when the coordinator has said that the partition is
part of it: otherwise nobody would ever send the marker that closes it, and the last stable offset would hang.
Between question and answer the transaction may end. Its marker takes the question back, so that an answer
which is late opens nothing. Source: Kafka's `VerificationGuard` and `VerificationStateEntry`.
"""

from __future__ import annotations


class Verification:
    """One question, compared by identity."""

    __slots__ = ("epoch", "producer_id")

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch


class Verifications:
    """The questions that are open in one partition, and the leaves that were not used yet."""

    __slots__ = ("_asked", "_granted")

    def __init__(self) -> None:
        self._asked: dict[int, Verification] = {}
        self._granted: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._asked) + len(self._granted)

    def ask(self, producer_id: int, epoch: int) -> Verification:
        """Begin to ask. An earlier question of the same producer epoch goes on as this one; one of an older
        epoch is taken back, and gets no leave any more."""
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

    def take_back(self, producer_id: int) -> None:
        """The transaction has begun, or one has ended, or the question came to nothing."""
        self._asked.pop(producer_id, None)
        self._granted.pop(producer_id, None)
