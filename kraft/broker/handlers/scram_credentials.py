"""DescribeUserScramCredentials (key 50) and AlterUserScramCredentials (key 51): whose passwords there are.
Version 0 (KIP-554).

Credentials are kept in the metadata; no listener asks for them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.client_commands import (
    AlterUserScramCredentials,
    AlterUserScramCredentialsReply,
    ScramDeletion,
    ScramResult,
    ScramUpsertion,
)
from metadata.records import UserScramCredentialRecord

TIMEOUT = 30.0


class DescribeUserScramCredentialsHandler:
    """Of the users that are named, or of all. Neither salts nor keys are told."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS)

    def __call__(self, request: Request, message: Any) -> Any:
        found: dict[str, list[UserScramCredentialRecord]] = {}
        for key, credential in self._context.metadata.image.scram_credentials.items():
            found.setdefault(key.user, []).append(credential)
        asked = Counter(user.name for user in message.users or ()) or Counter(found.keys())
        return self._response(
            throttle_time_ms=0,
            error_code=0,
            error_message=None,
            results=[self._result(user, count, found.get(user, [])) for user, count in asked.items()],
        )

    def _result(self, user: str, count: int, credentials: list[UserScramCredentialRecord]) -> Any:
        make = self._response.DescribeUserScramCredentialsResult
        if count > 1:
            code = ErrorCode.DUPLICATE_RESOURCE
            text = f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
            return make(user=user, error_code=code, error_message=text, credential_infos=[])
        if not credentials:
            code = ErrorCode.RESOURCE_NOT_FOUND
            text = f"Attempt to describe a user credential that does not exist: {user}"
            return make(user=user, error_code=code, error_message=text, credential_infos=[])
        infos = [
            make.CredentialInfo(mechanism=each.mechanism, iterations=each.iterations) for each in credentials
        ]
        return make(user=user, error_code=0, error_message=None, credential_infos=infos)


class AlterUserScramCredentialsHandler:
    """Sent on to the controller; the answer leaves when this broker tells of the change."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ALTER_USER_SCRAM_CREDENTIALS)

    async def __call__(self, request: Request, message: Any) -> Any:
        command = AlterUserScramCredentials(
            tuple(ScramDeletion(each.name, each.mechanism) for each in message.deletions),
            tuple(
                ScramUpsertion(
                    each.name, each.mechanism, each.iterations, bytes(each.salt), bytes(each.salted_password)
                )
                for each in message.upsertions
            ),
        )
        try:
            results = await self._alter(command)
        except KafkaError as error:
            named = [each.user for each in command.deletions] + [each.user for each in command.upsertions]
            users = dict.fromkeys(named)
            results = tuple(ScramResult(user, error.code, error.message or None) for user in users)
        make = self._response.AlterUserScramCredentialsResult
        return self._response(
            throttle_time_ms=0,
            results=[
                make(user=each.user, error_code=each.error_code, error_message=each.error_message)
                for each in results
            ],
        )

    async def _alter(self, command: AlterUserScramCredentials) -> tuple[ScramResult, ...]:
        reply = await self._context.controller.call(command, TIMEOUT)
        assert isinstance(reply, AlterUserScramCredentialsReply)
        offset = reply.offset
        await self._context.metadata.wait_until(lambda image: image.offset >= offset, TIMEOUT)
        return reply.users
