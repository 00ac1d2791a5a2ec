"""SCRAM credentials of users (KIP-554), as Kafka's `ScramControlManager` keeps them."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.client_commands import (
    AlterUserScramCredentials,
    AlterUserScramCredentialsReply,
    ScramDeletion,
    ScramResult,
    ScramUpsertion,
)
from metadata.controller.decision import Decision, View
from metadata.image import MetadataImage, ScramKey
from metadata.records import RemoveUserScramCredentialRecord, ScramMechanism, UserScramCredentialRecord

LEAST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 16384

_HASHES: Final = {ScramMechanism.SHA_256: "sha256", ScramMechanism.SHA_512: "sha512"}


def alter_credentials(
    view: View, command: AlterUserScramCredentials
) -> Decision[AlterUserScramCredentialsReply]:
    """Change the credentials of each user that can be."""
    changes: list[ScramDeletion | ScramUpsertion] = [*command.deletions, *command.upsertions]
    counts = Counter(change.user for change in changes)
    records: list[UserScramCredentialRecord | RemoveUserScramCredentialRecord] = []
    results: dict[str, ScramResult] = {}
    for change in changes:
        try:
            records.append(_record(view.image, change, alone=counts[change.user] == 1))
            results[change.user] = ScramResult(change.user)
        except KafkaError as error:
            results[change.user] = ScramResult(change.user, error.code, error.message)
    offset = view.image.offset + len(records)
    return Decision(records, AlterUserScramCredentialsReply(tuple(results.values()), offset))


def _record(
    image: MetadataImage, change: ScramDeletion | ScramUpsertion, *, alone: bool
) -> UserScramCredentialRecord | RemoveUserScramCredentialRecord:
    if not alone:
        raise KafkaError(
            ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"
        )
    if not change.user:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
    if change.mechanism not in set(ScramMechanism):
        raise KafkaError(ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
    mechanism = ScramMechanism(change.mechanism)
    if isinstance(change, ScramDeletion):
        if ScramKey(change.user, mechanism) not in image.scram_credentials:
            raise KafkaError(
                ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"
            )
        return RemoveUserScramCredentialRecord(change.user, mechanism)
    if change.iterations < LEAST_ITERATIONS:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations")
    if change.iterations > MOST_ITERATIONS:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations")
    algorithm, password = _HASHES[mechanism], change.salted_password
    client_key = hmac.digest(password, b"Client Key", algorithm)
    return UserScramCredentialRecord(
        name=change.user,
        mechanism=mechanism,
        salt=change.salt,
        stored_key=hashlib.new(algorithm, client_key).digest(),
        server_key=hmac.digest(password, b"Server Key", algorithm),
        iterations=change.iterations,
    )
