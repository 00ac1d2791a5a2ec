"""Quotas and credentials that are kept and told, and what a broker without security says of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

SHA_256, SHA_512 = 1, 2
EXACT, DEFAULT, ANY = 0, 1, 2
Entity = Sequence[tuple[str, str | None]]

# -- quotas ---------------------------------------------------------------------------------------


def alter(
    wire: Any, entity: Entity, *ops: tuple[str, float | None], version: int = 1, validate_only: bool = False
) -> ErrorCode:
    """Set quotas of one entity, remove those with None."""
    entry = {
        "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity],
        "ops": [{"key": key, "value": value or 0.0, "remove": value is None} for key, value in ops],
    }
    response = wire.call(ApiKey.ALTER_CLIENT_QUOTAS, version, entries=[entry], validate_only=validate_only)
    (result,) = response.entries
    assert [(each.entity_type, each.entity_name) for each in result.entity] == list(entity)
    code = ErrorCode(result.error_code)
    assert (result.error_message is None) == (code is ErrorCode.NONE)
    return code


def describe(wire: Any, *components: tuple[str, int, str | None], strict: bool = False) -> Any:
    asked = [{"entity_type": kind, "match_type": how, "match": name} for kind, how, name in components]
    return wire.call(ApiKey.DESCRIBE_CLIENT_QUOTAS, 1, components=asked, strict=strict)


def quotas(wire: Any, *components: tuple[str, int, str | None], strict: bool = False) -> dict[Any, Any]:
    response = describe(wire, *components, strict=strict)
    assert response.error_code == ErrorCode.NONE
    return {
        tuple((part.entity_type, part.entity_name) for part in each.entity): {
            value.key: value.value for value in each.values
        }
        for each in response.entries
    }


@pytest.mark.parametrize("version", [0, 1])
def test_quotas_are_set_and_removed(wire: Any, version: int) -> None:
    entity = [("user", f"u{version}")]
    filtered = ("user", EXACT, f"u{version}")
    values = [("producer_byte_rate", 1000.0), ("request_percentage", 12.5)]
    assert alter(wire, entity, *values, version=version, validate_only=True) is ErrorCode.NONE
    assert quotas(wire, filtered) == {}
    assert alter(wire, entity, *values, version=version) is ErrorCode.NONE
    assert quotas(wire, filtered) == {tuple(entity): dict(values)}
    assert alter(wire, entity, ("request_percentage", None), version=version) is ErrorCode.NONE
    assert quotas(wire, filtered) == {tuple(entity): {"producer_byte_rate": 1000.0}}
    assert alter(wire, entity, ("producer_byte_rate", None), ("consumer_byte_rate", None)) is ErrorCode.NONE
    assert quotas(wire, filtered) == {}


def test_quotas_are_found_by_what_they_belong_to(wire: Any) -> None:
    both = (("client-id", "c"), ("user", "both"))
    default = (("user", None),)
    address = (("ip", "10.0.0.1"),)
    assert alter(wire, both[::-1], ("producer_byte_rate", 1.0)) is ErrorCode.NONE
    assert alter(wire, default, ("consumer_byte_rate", 2.0)) is ErrorCode.NONE
    assert alter(wire, address, ("connection_creation_rate", 3.0)) is ErrorCode.NONE
    assert set(quotas(wire)) >= {both, default, address}
    assert set(quotas(wire, ("user", DEFAULT, None))) == {default}
    assert set(quotas(wire, ("ip", ANY, None))) == {address}
    assert set(quotas(wire, ("user", EXACT, "both"))) == {both}
    assert set(quotas(wire, ("user", EXACT, "both"), strict=True)) == set()
    assert set(quotas(wire, ("user", EXACT, "both"), ("client-id", ANY, None), strict=True)) == {both}


@pytest.mark.parametrize(
    ("entity", "op"),
    [
        ([], ("producer_byte_rate", 1.0)),
        ([("group", "g")], ("producer_byte_rate", 1.0)),
        ([("user", "")], ("producer_byte_rate", 1.0)),
        ([("user", "a"), ("client-id", "")], ("producer_byte_rate", 1.0)),
        ([("user", "a"), ("user", "b")], ("producer_byte_rate", 1.0)),
        ([("user", "a"), ("ip", "10.0.0.1")], ("producer_byte_rate", 1.0)),
        ([("ip", "not an address")], ("connection_creation_rate", 1.0)),
        ([("ip", "10.0.0.1")], ("producer_byte_rate", 1.0)),
        ([("user", "a")], ("connection_creation_rate", 1.0)),
        ([("user", "a")], ("no_such_rate", 1.0)),
        ([("user", "a")], ("producer_byte_rate", -1.0)),
        ([("user", "a")], ("producer_byte_rate", float("nan"))),
        ([("user", "a")], ("producer_byte_rate", 1e30)),
        ([("user", "a")], ("producer_byte_rate", float("inf"))),
        ([("user", "a")], ("producer_byte_rate", 1.5)),
    ],
)
def test_what_no_quota_can_be(wire: Any, entity: Entity, op: tuple[str, float]) -> None:
    before = quotas(wire)
    assert alter(wire, entity, op) is ErrorCode.INVALID_REQUEST
    assert quotas(wire) == before


def test_a_quota_is_named_once(wire: Any) -> None:
    twice = [("producer_byte_rate", 1.0), ("producer_byte_rate", 2.0)]
    assert alter(wire, [("user", "twice")], *twice) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("components", "code"),
    [
        ([("", EXACT, "a")], ErrorCode.INVALID_REQUEST),
        ([("group", EXACT, "a")], ErrorCode.UNSUPPORTED_VERSION),
        ([("user", EXACT, None)], ErrorCode.INVALID_REQUEST),
        ([("user", DEFAULT, "a")], ErrorCode.INVALID_REQUEST),
        ([("user", ANY, "a")], ErrorCode.INVALID_REQUEST),
        ([("user", 3, None)], ErrorCode.INVALID_REQUEST),
        ([("user", ANY, None), ("user", EXACT, "a")], ErrorCode.INVALID_REQUEST),
        ([("user", ANY, None), ("ip", ANY, None)], ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_quotas_cannot_be_asked_by(wire: Any, components: Any, code: ErrorCode) -> None:
    response = describe(wire, *components)
    assert (response.error_code, response.entries) == (code, None)
    assert response.error_message


# -- SCRAM credentials ----------------------------------------------------------------------------


def upsert(user: str, mechanism: int = SHA_256, iterations: int = 4096) -> dict[str, Any]:
    return {
        "name": user,
        "mechanism": mechanism,
        "iterations": iterations,
        "salt": b"salt",
        "salted_password": b"secret",
    }


def credentials(wire: Any, *changes: dict[str, Any]) -> dict[str, ErrorCode]:
    response = wire.call(
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS,
        0,
        deletions=[change for change in changes if "salt" not in change],
        upsertions=[change for change in changes if "salt" in change],
    )
    return {each.user: ErrorCode(each.error_code) for each in response.results}


def described(wire: Any, *users: str) -> dict[str, Any]:
    response = wire.call(
        ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, 0, users=[{"name": user} for user in users] or None
    )
    assert response.error_code == ErrorCode.NONE
    return {
        each.user: [(info.mechanism, info.iterations) for info in each.credential_infos]
        if each.error_code == ErrorCode.NONE
        else ErrorCode(each.error_code)
        for each in response.results
    }


def test_credentials_are_set_and_deleted(wire: Any) -> None:
    assert credentials(wire, upsert("alice")) == {"alice": ErrorCode.NONE}
    assert credentials(wire, upsert("alice", SHA_512, 8192)) == {"alice": ErrorCode.NONE}
    assert described(wire, "alice") == {"alice": [(SHA_256, 4096), (SHA_512, 8192)]}
    assert described(wire)["alice"] == [(SHA_256, 4096), (SHA_512, 8192)]
    gone = {"name": "alice", "mechanism": SHA_256}
    assert credentials(wire, gone) == {"alice": ErrorCode.NONE}
    assert described(wire, "alice") == {"alice": [(SHA_512, 8192)]}
    assert credentials(wire, gone) == {"alice": ErrorCode.RESOURCE_NOT_FOUND}


def test_users_that_are_not_there(wire: Any) -> None:
    assert described(wire, "nobody", "twice", "twice") == {
        "nobody": ErrorCode.RESOURCE_NOT_FOUND,
        "twice": ErrorCode.DUPLICATE_RESOURCE,
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (upsert(""), ErrorCode.UNACCEPTABLE_CREDENTIAL),
        (upsert("bob", 0), ErrorCode.UNSUPPORTED_SASL_MECHANISM),
        (upsert("bob", 3), ErrorCode.UNSUPPORTED_SASL_MECHANISM),
        (upsert("bob", SHA_256, 4095), ErrorCode.UNACCEPTABLE_CREDENTIAL),
        (upsert("bob", SHA_256, 16385), ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"name": "bob", "mechanism": SHA_256}, ErrorCode.RESOURCE_NOT_FOUND),
        ({"name": "bob", "mechanism": -1}, ErrorCode.UNSUPPORTED_SASL_MECHANISM),
        ({"name": "", "mechanism": SHA_256}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
    ],
)
def test_what_no_credential_can_be(wire: Any, change: dict[str, Any], code: ErrorCode) -> None:
    assert credentials(wire, change, upsert("carol")) == {change["name"]: code, "carol": ErrorCode.NONE}
    assert described(wire, "bob") == {"bob": ErrorCode.RESOURCE_NOT_FOUND}


def test_a_user_is_changed_once_in_a_request(wire: Any) -> None:
    changes = [upsert("dave"), upsert("dave", SHA_512), {"name": "dave", "mechanism": SHA_256}]
    assert credentials(wire, *changes) == {"dave": ErrorCode.DUPLICATE_RESOURCE}


# -- nothing is secured ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1])
def test_there_is_nothing_to_authenticate_with(wire: Any, version: int) -> None:
    response = wire.call(ApiKey.SASL_HANDSHAKE, version, mechanism="PLAIN")
    assert (response.error_code, response.mechanisms) == (ErrorCode.ILLEGAL_SASL_STATE, [])
    assert wire.call(ApiKey.API_VERSIONS, 0).error_code == ErrorCode.NONE


@pytest.mark.parametrize("version", [0, 1, 2])
def test_nobody_authenticates(wire: Any, version: int) -> None:
    response = wire.call(ApiKey.SASL_AUTHENTICATE, version, auth_bytes=b"\x00user\x00secret")
    assert response.error_code == ErrorCode.ILLEGAL_SASL_STATE
    assert response.auth_bytes == b""


@pytest.mark.parametrize("version", [1, 2, 3])
def test_there_are_no_acls(wire: Any, version: int) -> None:
    disabled = ErrorCode.SECURITY_DISABLED
    acl = {
        "resource_type": 2,
        "resource_name": "t",
        "resource_pattern_type": 3,
        "principal": "User:a",
        "host": "*",
        "operation": 3,
        "permission_type": 3,
    }
    created = wire.call(ApiKey.CREATE_ACLS, version, creations=[acl, acl])
    assert [each.error_code for each in created.results] == [disabled, disabled]
    asked = {
        "resource_type_filter": 1,
        "resource_name_filter": None,
        "pattern_type_filter": 1,
        "principal_filter": None,
        "host_filter": None,
        "operation": 1,
        "permission_type": 1,
    }
    found = wire.call(ApiKey.DESCRIBE_ACLS, version, **asked)
    assert (found.error_code, found.resources) == (disabled, [])
    assert found.error_message
    deleted = wire.call(ApiKey.DELETE_ACLS, version, filters=[asked])
    assert [(each.error_code, each.matching_acls) for each in deleted.filter_results] == [(disabled, [])]
