"""Which quotas there can be (KIP-546), as Kafka's `ClientQuotaControlManager` has it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.client_commands import (
    AlterClientQuotas,
    AlterClientQuotasReply,
    QuotaAlteration,
    QuotaResult,
)
from metadata.controller.decision import Decision, View
from metadata.image import MetadataImage, quota_entity
from metadata.records import ClientQuotaRecord, QuotaEntityPart

USER, CLIENT_ID, IP = "user", "client-id", "ip"

_LONG, _INT = 2**63 - 1, 2**31 - 1
_CLIENT_KEYS: Final[Mapping[str, int | None]] = {
    "producer_byte_rate": _LONG,
    "consumer_byte_rate": _LONG,
    "request_percentage": None,
    "controller_mutation_rate": None,
}
"""The largest whole number that a quota can be, None where it need not be whole."""
_IP_KEYS: Final[Mapping[str, int | None]] = {"connection_creation_rate": _INT}


def alter_quotas(view: View, command: AlterClientQuotas) -> Decision[AlterClientQuotasReply]:
    """Change the quotas of each entity that can have them."""
    records: list[ClientQuotaRecord] = []
    results = []
    seen: set[tuple[QuotaEntityPart, ...]] = set()
    for entry in command.entries:
        entity = quota_entity(entry.entity)
        try:
            records += _alter(view.image, entity, entry, repeated=entity in seen)
        except KafkaError as error:
            results.append(QuotaResult(entry.entity, error.code, error.message))
        else:
            results.append(QuotaResult(entry.entity))
        seen.add(entity)
    decided = () if command.validate_only else records
    return Decision(decided, AlterClientQuotasReply(tuple(results), view.image.offset + len(decided)))


def _alter(
    image: MetadataImage, entity: tuple[QuotaEntityPart, ...], entry: QuotaAlteration, *, repeated: bool
) -> list[ClientQuotaRecord]:
    if repeated:
        raise _invalid("Ignoring duplicate entity")
    if len({op.key for op in entry.ops}) < len(entry.ops):
        raise _invalid("Duplicate quota key, not updating quota for this entity")
    known = _keys(entity)
    present = image.client_quotas.get(entity, {})
    records = []
    for key, value in entry.ops:
        if value is None:
            if key in present:
                records.append(ClientQuotaRecord(entity, key, remove=True))
            continue
        _check(known, key, value)
        if present.get(key) != value:
            records.append(ClientQuotaRecord(entity, key, value))
    return records


def _keys(entity: tuple[QuotaEntityPart, ...]) -> Mapping[str, int | None]:
    """The quotas that an entity of this kind can have."""
    kinds = [part.entity_type for part in entity]
    if not kinds:
        raise _invalid("Invalid empty client quota entity")
    for kind in kinds:
        if kind not in (USER, CLIENT_ID, IP):
            raise _invalid(f"Unhandled client quota entity type: {kind}")
        if kinds.count(kind) > 1:
            raise _invalid(f"Invalid client quota entity, duplicate entity entry {kind}")
    for part in entity:
        if part.entity_name == "":  # the default is None
            raise _invalid(f"Empty {part.entity_type} not supported")
    if IP not in kinds:
        return _CLIENT_KEYS
    if len(kinds) > 1:
        raise _invalid("Invalid quota entity combination: an IP cannot be combined with a user or client id.")
    address = entity[0].entity_name
    try:
        if address is not None:
            ip_address(address)
    except ValueError:
        raise _invalid(f"{address} is not a valid IP.") from None
    return _IP_KEYS


def _check(known: Mapping[str, int | None], key: str, value: float) -> None:
    if key not in known:
        raise _invalid(f"Invalid configuration key {key}")
    if not value > 0:
        raise _invalid(f"Quota {key} must be greater than 0")
    largest = known[key]
    if largest is None:
        return
    if value > largest:
        raise _invalid(f"Proposed value for {key} is too large.")
    if value % 1.0 > 1e-6:
        raise _invalid(f"{key} cannot be a fractional value.")


def _invalid(problem: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, problem)
