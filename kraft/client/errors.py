"""What a client raises beside a plain KafkaError: where the difference matters to whoever acts on it."""

from __future__ import annotations

from kafkawire.errors import ErrorCode, KafkaError


class OutcomeUnknownError(KafkaError):
    """A request was sent, and whether it was carried out is not known and will not be."""


class FatalTransactionError(KafkaError):
    """This producer is done for: another one has its transactional id, or may not use it. Only closing is
    left."""


class AbortableTransactionError(KafkaError):
    """The transaction cannot be committed; after `abort` the producer goes on."""


class TruncatedError(KafkaError):
    """What was read has been taken back by an unclean election: logs differ from `diverging_offset` on, which
    is -1 where the leader cannot tell (KIP-320)."""

    def __init__(self, message: str, diverging_offset: int) -> None:
        super().__init__(ErrorCode.OFFSET_OUT_OF_RANGE, message)
        self.diverging_offset = diverging_offset
