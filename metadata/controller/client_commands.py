"""Commands about clients and users, and their replies: quotas (KIP-546) and SCRAM credentials (KIP-554).
`metadata.controller.commands` has the rest.

`offset` in a reply is that of the last record of the decision (-1: none): a broker that has applied it shows
what was decided.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from kafkawire.errors import ErrorCode
from metadata.records import QuotaEntityPart


class QuotaOp(NamedTuple):
    """One quota of an entity; value None removes it."""

    key: str
    value: float | None


class QuotaAlteration(NamedTuple):
    """What becomes of the quotas of one entity."""

    entity: tuple[QuotaEntityPart, ...]
    ops: tuple[QuotaOp, ...]


class AlterClientQuotas(msgspec.Struct, frozen=True):
    """Change quotas, each entity on its own."""

    entries: tuple[QuotaAlteration, ...]
    validate_only: bool = False


class QuotaResult(msgspec.Struct, frozen=True):
    """What became of one entity."""

    entity: tuple[QuotaEntityPart, ...]
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class AlterClientQuotasReply(msgspec.Struct, frozen=True):
    """One result per entry, in the order of the command."""

    entries: tuple[QuotaResult, ...]
    offset: int = -1


class ScramDeletion(NamedTuple):
    """A credential to remove; `mechanism` may be a number that is no ScramMechanism."""

    user: str
    mechanism: int


class ScramUpsertion(NamedTuple):
    """A credential to set. The password was salted by the client."""

    user: str
    mechanism: int
    iterations: int
    salt: bytes
    salted_password: bytes


class AlterUserScramCredentials(msgspec.Struct, frozen=True):
    """Change credentials, each user on its own; a user can be named once."""

    deletions: tuple[ScramDeletion, ...] = ()
    upsertions: tuple[ScramUpsertion, ...] = ()


class ScramResult(msgspec.Struct, frozen=True):
    """What became of one user."""

    user: str
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class AlterUserScramCredentialsReply(msgspec.Struct, frozen=True):
    """One result per user."""

    users: tuple[ScramResult, ...]
    offset: int = -1
