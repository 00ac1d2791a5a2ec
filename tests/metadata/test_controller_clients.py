"""Quotas and credentials in the metadata: what is stored, and that a snapshot has it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from kafkawire.errors import ErrorCode
from metadata.controller.client_commands import (
    AlterClientQuotas,
    AlterUserScramCredentials,
    QuotaAlteration,
    QuotaOp,
    ScramDeletion,
    ScramUpsertion,
)
from metadata.image import ScramKey
from metadata.records import QuotaEntityPart, ScramMechanism
from metadata.snapshot import decode_snapshot, encode_snapshot

USER = QuotaEntityPart("user", "a")
CLIENT = QuotaEntityPart("client-id", None)


def alteration(*parts: QuotaEntityPart, value: float | None = 5.0) -> QuotaAlteration:
    return QuotaAlteration(parts, (QuotaOp("producer_byte_rate", value),))


def test_an_entity_is_the_same_in_any_order(cluster: Any) -> None:
    reply = cluster.ask(AlterClientQuotas((alteration(USER, CLIENT), alteration(CLIENT, USER, value=6.0))))
    assert [each.error_code for each in reply.entries] == [ErrorCode.NONE, ErrorCode.INVALID_REQUEST]
    assert reply.offset == cluster.image.offset
    assert cluster.image.client_quotas == {(CLIENT, USER): {"producer_byte_rate": 5.0}}
    before = cluster.image
    cluster.ask(AlterClientQuotas((alteration(CLIENT, USER),)))
    assert cluster.image is before
    cluster.ask(AlterClientQuotas((alteration(USER, CLIENT, value=None),)))
    assert cluster.image.client_quotas == {}


def test_keys_are_those_of_the_standard(cluster: Any) -> None:
    """The example of RFC 7677."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    cluster.ask(AlterUserScramCredentials((), (ScramUpsertion("user", 1, 4096, salt, salted),)))
    stored = cluster.image.scram_credentials[ScramKey("user", ScramMechanism.SHA_256)]
    assert base64.b64encode(stored.stored_key) == b"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    assert base64.b64encode(stored.server_key) == b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="


def test_a_snapshot_has_them(cluster: Any) -> None:
    cluster.ask(AlterClientQuotas((alteration(USER), alteration(CLIENT, USER))))
    upsertions = (ScramUpsertion("b", 2, 5000, b"s", b"p"), ScramUpsertion("c", 1, 5000, b"s", b"p"))
    cluster.ask(AlterUserScramCredentials((), upsertions))
    cluster.ask(AlterUserScramCredentials((ScramDeletion("c", 1),)))
    assert list(cluster.image.scram_credentials) == [ScramKey("b", ScramMechanism.SHA_512)]
    assert decode_snapshot(encode_snapshot(cluster.image)) == cluster.image
