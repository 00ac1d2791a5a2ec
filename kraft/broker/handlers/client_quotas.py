"""DescribeClientQuotas (key 48) and AlterClientQuotas (key 49): what clients may use. Versions 0-1 (KIP-546).

Quotas are kept in the metadata and told; no broker enforces them.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.client_commands import (
    AlterClientQuotas,
    AlterClientQuotasReply,
    QuotaAlteration,
    QuotaOp,
    QuotaResult,
)
from metadata.controller.client_quotas import CLIENT_ID, IP, USER
from metadata.image import MetadataImage, QuotaEntity
from metadata.records import QuotaEntityPart

EXACT, DEFAULT, ANY = 0, 1, 2
"""How a component of a filter looks at an entity."""
TIMEOUT = 30.0


class DescribeClientQuotasHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_CLIENT_QUOTAS)

    def __call__(self, request: Request, message: Any) -> Any:
        code, text, entries = ErrorCode.NONE, None, None
        try:
            entries = self._entries(self._context.metadata.image, _filter(message.components), message.strict)
        except KafkaError as error:
            code, text = error.code, error.message
        return self._response(throttle_time_ms=0, error_code=code, error_message=text, entries=entries)

    def _entries(self, image: MetadataImage, wanted: dict[str, Any], strict: bool) -> list[Any]:
        make = self._response.EntryData
        return [
            make(
                entity=[
                    make.EntityData(entity_type=part.entity_type, entity_name=part.entity_name)
                    for part in entity
                ],
                values=[make.ValueData(key=key, value=value) for key, value in quotas.items()],
            )
            for entity, quotas in image.client_quotas.items()
            if _matches(entity, wanted, strict)
        ]


_ANY_NAME = object()


def _filter(components: Any) -> dict[str, Any]:
    """What is wanted of each kind of entity: a name, None for its default, or _ANY_NAME."""
    wanted: dict[str, Any] = {}
    for each in components:
        kind = each.entity_type
        if not kind:
            raise _invalid("Invalid empty entity type.")
        if kind in wanted:
            raise _invalid(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in (USER, CLIENT_ID, IP):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}")
        if each.match_type not in (EXACT, DEFAULT, ANY):
            raise _invalid(f"Unknown match type {each.match_type}")
        if (each.match_type == EXACT) != (each.match is not None):
            raise _invalid("A match string belongs to an exact match, and to no other.")
        wanted[kind] = _ANY_NAME if each.match_type == ANY else each.match
    if IP in wanted and len(wanted) > 1:
        raise _invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user "
            "or clientId filter component."
        )
    return wanted


def _matches(entity: QuotaEntity, wanted: dict[str, Any], strict: bool) -> bool:
    names = dict(entity)
    if strict and len(names) != len(wanted):
        return False
    return all(kind in names and name in (_ANY_NAME, names[kind]) for kind, name in wanted.items())


def _invalid(problem: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, problem)


class AlterClientQuotasHandler:
    """Sent on to the controller; the answer leaves when this broker tells of the change."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ALTER_CLIENT_QUOTAS)

    async def __call__(self, request: Request, message: Any) -> Any:
        entries = tuple(
            QuotaAlteration(
                tuple(QuotaEntityPart(part.entity_type, part.entity_name) for part in entry.entity),
                tuple(QuotaOp(op.key, None if op.remove else op.value) for op in entry.ops),
            )
            for entry in message.entries
        )
        try:
            results = await self._alter(AlterClientQuotas(entries, message.validate_only))
        except KafkaError as error:
            results = tuple(QuotaResult(each.entity, error.code, error.message or None) for each in entries)
        make = self._response.EntryData
        return self._response(
            throttle_time_ms=0,
            entries=[
                make(
                    error_code=each.error_code,
                    error_message=each.error_message,
                    entity=[
                        make.EntityData(entity_type=part.entity_type, entity_name=part.entity_name)
                        for part in each.entity
                    ],
                )
                for each in results
            ],
        )

    async def _alter(self, command: AlterClientQuotas) -> tuple[QuotaResult, ...]:
        reply = await self._context.controller.call(command, TIMEOUT)
        assert isinstance(reply, AlterClientQuotasReply)
        offset = reply.offset
        await self._context.metadata.wait_until(lambda image: image.offset >= offset, TIMEOUT)
        return reply.entries
