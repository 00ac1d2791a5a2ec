"""How a broker reaches the active controller: finds it, follows it when it moves, asks again when it is
gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kafkawire.errors import ErrorCode, KafkaError
from kraft.transport.client import Peer
from kraft.transport.errors import PeerError, PeerTimeout
from metadata.calls import COMMAND_PREFIX, DESCRIBE_QUORUM, QuorumDescription, leader_named_by
from metadata.controller.commands import COMMANDS, Command, Reply
from metadata.serde import from_wire, to_wire

RETRY_PAUSE = 0.02
"""Seconds between two rounds through the controllers while none of them is active."""


class ControllerChannel:
    """Calls to whoever is the active controller. `peers` are all controllers of the quorum.

    `broker_epoch` is this broker's present epoch, which many commands carry; -1 before it is registered.
    """

    def __init__(self, peers: Mapping[int, Peer], monotonic: Callable[[], float]) -> None:
        self.peers = peers
        self.broker_epoch = -1
        self.leader_id: int | None = None
        self._silent: int | None = None
        """Who let a call wait for too long, and has not answered since: it may be paused, link and all."""
        self._monotonic = monotonic
        self.on_active: Callable[[int], None] = lambda _: None
        """Told of each answer of the active controller, and who that is."""

    async def call(self, command: Command, timeout: float) -> Reply:
        """Ask the active controller, for `timeout` seconds at most, wherever it may move in that time.

        A command whose answer was lost is sent again, so that it may be done twice: the controller's checks
        tell. Raises KafkaError: what the controller answered, or REQUEST_TIMED_OUT when none was active in
        time.
        """
        spec = COMMANDS[type(command).__name__]
        value = await self._ask(COMMAND_PREFIX + spec.name, to_wire(command), timeout)
        return from_wire(spec.reply, value)

    async def describe_quorum(self, timeout: float) -> QuorumDescription:
        """The quorum's state; raises as `call` does."""
        return from_wire(QuorumDescription, await self._ask(DESCRIBE_QUORUM, None, timeout))

    async def _ask(self, method: str, value: Any, timeout: float) -> Any:
        deadline = self._monotonic() + timeout
        while True:
            for peer in self._candidates():
                left = deadline - self._monotonic()
                if left <= 0:
                    break
                try:
                    response = await peer.call(method, value, timeout=left)
                except PeerTimeout:
                    self._silent = peer.peer_id
                    continue
                except PeerError:
                    continue
                except KafkaError as error:
                    self._answered(peer)
                    if error.code is not ErrorCode.NOT_CONTROLLER:
                        raise
                    self.heard_of_leader(leader_named_by(error))
                    continue
                self._answered(peer)
                self.leader_id = peer.peer_id
                self.on_active(peer.peer_id)
                return response.value
            if self._monotonic() + RETRY_PAUSE >= deadline:
                raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "no active controller answered in time")
            await asyncio.sleep(RETRY_PAUSE)

    def _answered(self, peer: Peer) -> None:
        if self._silent == peer.peer_id:
            self._silent = None

    def heard_of_leader(self, leader_id: int | None) -> None:
        """Somebody said who the active controller is now."""
        if leader_id in self.peers:
            self.leader_id = leader_id

    def _candidates(self) -> list[Peer]:
        """Those that can be asked now, the supposed leader first, and last of all who is silent: the others
        know whether somebody else leads by now."""
        connected = [peer for peer in self.peers.values() if peer.connected]
        return sorted(
            connected, key=lambda peer: (peer.peer_id == self._silent, peer.peer_id != self.leader_id)
        )
