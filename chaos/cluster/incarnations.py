"""Topics that are deleted and created anew under their name: each incarnation goes by a name of its own.

Clients and the history call an incarnation by that name; on the wire it is the id of its topic. A name on the
wire would prove nothing: a broker that has not heard yet of what became of the topic answers for an earlier
incarnation, and a request that was late reaches a later one. Both are as Kafka has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from kafkawire.apis import ApiKey
from kraft.client.cluster import Cluster, ClusterOptions, Leader
from kraft.client.connections import Connection, Dial, DisconnectedError

BY_ID = {ApiKey.PRODUCE: 13, ApiKey.FETCH: 13}
"""The versions that refer to topics by their ids (KIP-516)."""
NAMED = {ApiKey.LIST_OFFSETS: "name", ApiKey.OFFSET_FOR_LEADER_EPOCH: "topic"}
"""Requests and responses that have names only, and what the field is called."""


class Incarnation(NamedTuple):
    """What one topic id stands for. `alias` is its name in the history, `topic` the one that it shares with
    those before and after it."""

    alias: str
    topic: str
    topic_id: bytes
    partitions: int


class IncarnationCluster(Cluster):
    """The cluster to a client that works on one incarnation and calls it by its alias; no other topic."""

    def __init__(
        self, bootstrap: str, options: ClusterOptions | None, dial: Dial, incarnation: Incarnation
    ) -> None:
        super().__init__(bootstrap, options, dial)
        self._incarnation = incarnation

    async def refresh(self, topics: Iterable[str] = ()) -> None:
        """See `Cluster`."""
        del topics  # there is but one
        await super().refresh([self._incarnation.topic])

    def known_leader(self, topic: str, partition: int) -> Leader | None:
        """See `Cluster`. There is none while whoever was asked last takes the name for another topic's."""
        incarnation = self._incarnation
        assert topic == incarnation.alias
        known = self.topics.get(incarnation.topic)
        if known is None or known.topic_id != incarnation.topic_id:
            return None
        return super().known_leader(incarnation.topic, partition)

    def connected(self, node_id: int, purpose: str = "") -> Connection | None:
        """See `Cluster`."""
        connection = super().connected(node_id, purpose)
        return None if connection is None else _Interpreter(connection, self._incarnation)

    async def connection(self, node_id: int, purpose: str = "") -> Connection:
        """See `Cluster`."""
        return _Interpreter(await super().connection(node_id, purpose), self._incarnation)


class _Interpreter(Connection):
    """A connection to a broker, which hears of the incarnation as the wire has it."""

    def __init__(self, connection: Connection, incarnation: Incarnation) -> None:
        super().__init__("")
        self._connection = connection
        self._incarnation = incarnation

    @property
    def is_open(self) -> bool:
        """See `Connection`."""
        return self._connection.is_open

    def close(self) -> None:
        """See `Connection`."""
        self._connection.close()

    def send(self, key: ApiKey, request: Any, newest: int | None = None) -> asyncio.Future[Any]:
        """See `Connection`."""
        if not self.is_open:
            raise DisconnectedError("the connection is closed")
        if key in BY_ID:
            # The client as it ships goes by names, and so does `send`.
            reply = self._connection._send(key, BY_ID[key], self._with_id(request))
        elif key in NAMED:
            self._rename(key, request, self._incarnation.topic)
            reply = self._connection.send(key, request, newest)
        else:
            return self._connection.send(key, request, newest)
        understood: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(partial(self._answered, key, understood))
        return understood

    def _with_id(self, request: Any) -> Any:
        """A Produce or a Fetch that names the topic by its id."""
        topic_id = self._incarnation.topic_id
        return request._replace(partitions=[each._replace(topic=topic_id) for each in request.partitions])

    @staticmethod
    def _rename(key: ApiKey, message: Any, name: str) -> None:
        for topic in message.topics:
            setattr(topic, NAMED[key], name)

    def _answered(self, key: ApiKey, understood: asyncio.Future[Any], reply: asyncio.Future[Any]) -> None:
        failure = reply.exception()
        if understood.done():
            return
        if failure is not None:
            understood.set_exception(failure)
            understood.exception()  # whoever has stopped waiting is not to be told by a warning
            return
        response, alias = reply.result(), self._incarnation.alias
        if key in BY_ID:
            response = response._replace(results=[each._replace(topic=alias) for each in response.results])
        else:
            self._rename(key, response, alias)
        understood.set_result(response)
