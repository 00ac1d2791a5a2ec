"""The coordinator of a group or of a transactional id: found, asked, and found again when it has moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.cluster import Backoff, Broker, Cluster
from kraft.client.connections import CONNECTION_FAILURES, Connection, DisconnectedError, watched
from kraft.client.errors import OutcomeUnknownError

MOVED = frozenset({ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE})
"""After these another coordinator is looked for."""

_NOTHING_DONE = frozenset({ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.CONCURRENT_TRANSACTIONS})
"""Who says so has written nothing; a coordinator that says anything else to be repeated may have."""

Check = Callable[[Any], ErrorCode]
"""The error code in a response."""


class CoordinatorType(IntEnum):
    """What a key of FindCoordinator is."""

    GROUP = 0
    TRANSACTION = 1


class Coordinator:
    """Asks the coordinator of one key, on a connection of its own."""

    def __init__(self, cluster: Cluster, kind: CoordinatorType, key: str) -> None:
        self._cluster = cluster
        self._kind = kind
        self._key = key
        self._node_id: int | None = None
        self._purpose = cluster.new_purpose(kind.name.lower())

    def forget(self) -> None:
        """Look for it again the next time: it has moved, or cannot be reached. What it was asked on this
        connection and is late would hold up what comes after it."""
        connection, self._node_id = self.connected(), None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close its connections."""
        self._cluster.close_purpose(self._purpose)

    def connected(self) -> Connection | None:
        """The connection to it, if there is one."""
        return None if self._node_id is None else self._cluster.connected(self._node_id, self._purpose)

    async def _connect_until(self, deadline: float) -> Connection:
        async with asyncio.timeout_at(deadline):
            return await self.connection()

    async def connection(self) -> Connection:
        """A connection to it, looked for until there is one; bound it by a timeout.

        Raises KafkaError for what no retry heals.
        """
        backoff = Backoff()
        while True:
            connection = self.connected()
            if connection is not None:
                return connection
            try:
                if self._node_id is None:
                    self._node_id = await self._find()
                if self._node_id is not None:
                    return await self._cluster.connection(self._node_id, self._purpose)
            except CONNECTION_FAILURES:
                self._node_id = None
            await backoff.pause()

    async def _find(self) -> int | None:
        request_class = messages.request_class(ApiKey.FIND_COORDINATOR)
        request = request_class(key_type=int(self._kind), coordinator_keys=[self._key])
        response = await self._cluster.call_any(ApiKey.FIND_COORDINATOR, request)
        (found,) = response.coordinators
        code = ErrorCode(found.error_code)
        if code is ErrorCode.NONE:
            # It may have come up since the last look at the metadata.
            self._cluster.brokers.setdefault(found.node_id, Broker(found.node_id, found.host, found.port))
            return int(found.node_id)
        if code.retriable:
            return None
        raise KafkaError(code, found.error_message or self._key)

    async def answer(
        self, connection: Connection, key: ApiKey, request: Any, patience: float, newest: int | None = None
    ) -> Any:
        """What the coordinator at the end of this connection answers. Raises one of CONNECTION_FAILURES after
        `patience` seconds, and as soon as there is another coordinator."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        asked = self._node_id
        pause = self._cluster.options.stall_check

        async def look() -> BaseException | None:
            if loop.time() >= deadline:
                return TimeoutError()
            try:
                found = await self._find()
            except (KafkaError, *CONNECTION_FAILURES):
                return None
            return None if found in (None, asked) else DisconnectedError("there is another coordinator")

        return await watched(connection.send(key, request, newest), min(pause, patience), look)

    async def ask(
        self,
        key: ApiKey,
        request: Any,
        check: Check,
        timeout: float,
        *,
        newest: int | None = None,
        reply_timeout: float | None = None,
    ) -> Any:
        """The response, once `check` finds no error to retry in it; asked again for `timeout` seconds.

        A reply may take `reply_timeout` seconds, by default the cluster's `request_timeout`. The request has
        to be one that may be repeated. Raises KafkaError for an error that no retry heals, and when time is
        over; OutcomeUnknownError instead of either if an attempt before may have been carried out.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        most = self._cluster.options.request_timeout if reply_timeout is None else reply_timeout
        backoff = Backoff()
        unknown = False
        code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        while loop.time() < deadline:
            try:
                connection = self.connected() or await self._connect_until(deadline)
            except TimeoutError:
                break
            try:
                patience = max(0.0, min(deadline - loop.time(), most))
                response = await self.answer(connection, key, request, patience, newest)
            except CONNECTION_FAILURES:
                unknown = True
                code = ErrorCode.NETWORK_EXCEPTION
                self.forget()
            else:
                code = check(response)
                if code is ErrorCode.NONE:
                    return response
                if not code.retriable:
                    raise OutcomeUnknownError(code, key.name) if unknown else KafkaError(code, key.name)
                unknown = unknown or code not in _NOTHING_DONE
                if code in MOVED:
                    self.forget()
            await backoff.pause()
        message = f"{key.name}: no success within {timeout} s ({code.name})"
        if unknown:
            raise OutcomeUnknownError(ErrorCode.REQUEST_TIMED_OUT, message)
        raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, message)


def top_error(response: Any) -> ErrorCode:
    """The error code of a response that has one for everything."""
    return ErrorCode(response.error_code)
