"""A broker's life as the controller sees it: registered, fenced, serving, leaving.

Every process registers under an incarnation of its own and gets an epoch; heartbeats under that epoch keep
it alive. It serves once the controller has unfenced it, which it does when the broker has caught up with
the metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.controller_channel import ControllerChannel
from kraft.events import Events
from metadata.controller.commands import (
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    RegisterBroker,
    RegisterBrokerReply,
)

_RETRY_PAUSE = 0.05


class HeartbeatSettings(msgspec.Struct, frozen=True):
    """Seconds: broker.heartbeat.interval.ms, and how long one heartbeat may take."""

    interval: float
    timeout: float


class BrokerSupersededError(Exception):
    """Another process has registered under this broker's id, or it was unregistered: this one must stop."""


class BrokerLifecycle:
    """`metadata_offset` tells how far this broker has applied the metadata; `wants_fence` whether it had
    better not lead for now."""

    def __init__(
        self,
        broker_id: int,
        controller: ControllerChannel,
        settings: HeartbeatSettings,
        metadata_offset: Callable[[], int],
        wants_fence: Callable[[], bool],
    ) -> None:
        self._broker_id = broker_id
        self._controller = controller
        self._settings = settings
        self._metadata_offset = metadata_offset
        self._wants_fence = wants_fence
        self._wants_shutdown = False
        self._wake = asyncio.Event()
        self._may_stop = asyncio.Event()
        self.unfenced = asyncio.Event()
        self._events = Events("broker")

    async def register(self, registration: RegisterBroker) -> int:
        """Register with the active controller, for as long as that takes; returns the broker epoch.

        Raises KafkaError for what will not get better by itself (another cluster's id, say).
        """
        waits_for: ErrorCode | None = None
        while True:
            try:
                reply = await self._controller.call(registration, self._settings.timeout)
            except KafkaError as error:
                if waits_for is not error.code:
                    waits_for = error.code
                    self._say_what_it_waits_for(error)
                await asyncio.sleep(_RETRY_PAUSE)
                continue
            assert isinstance(reply, RegisterBrokerReply)
            self._controller.broker_epoch = reply.broker_epoch
            self._events.info("broker.registered", epoch=reply.broker_epoch)
            return reply.broker_epoch

    def _say_what_it_waits_for(self, error: KafkaError) -> None:
        """One line; raises what waiting does not help."""
        if error.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION:
            self._events.info("broker.waits_for_old_session", reason=error.message)
        elif error.code is ErrorCode.REQUEST_TIMED_OUT or error.code.retriable:
            self._events.warning("broker.waits_for_controller", reason=error.message or error.code.name)
        else:
            raise error

    def nudge(self) -> None:
        """Send a heartbeat now: there is something to tell, or a new controller to tell it to."""
        self._wake.set()

    async def run(self) -> None:
        """Send heartbeats until cancelled. Raises BrokerSupersededError."""
        while True:
            self._wake.clear()
            try:
                await self._beat()
            except KafkaError as error:
                if error.code in (ErrorCode.STALE_BROKER_EPOCH, ErrorCode.BROKER_ID_NOT_REGISTERED):
                    raise BrokerSupersededError(
                        f"broker {self._broker_id} is registered by another process"
                    ) from error
                self._events.warning("heartbeat.failed", reason=error.message or error.code.name)
                await asyncio.sleep(_RETRY_PAUSE)
                continue
            try:
                async with asyncio.timeout(self._settings.interval):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _beat(self) -> None:
        heartbeat = BrokerHeartbeat(
            self._broker_id,
            self._controller.broker_epoch,
            self._metadata_offset(),
            want_fence=self._wants_fence(),
            want_shutdown=self._wants_shutdown,
        )
        reply = await self._controller.call(heartbeat, self._settings.timeout)
        assert isinstance(reply, BrokerHeartbeatReply)
        if reply.should_shutdown:
            self._may_stop.set()
        if reply.is_fenced == self.unfenced.is_set():
            self._events.info("broker.fenced" if reply.is_fenced else "broker.unfenced")
        if reply.is_fenced:
            self.unfenced.clear()
        else:
            self.unfenced.set()

    async def leave(self, timeout: float) -> bool:
        """Controlled shutdown: ask that leaderships move; True if they have within `timeout` seconds."""
        self._wants_shutdown = True
        self._settings = replace(self._settings, interval=min(self._settings.interval, 0.05))
        self.nudge()
        try:
            async with asyncio.timeout(timeout):
                await self._may_stop.wait()
        except TimeoutError:
            self._events.warning("broker.left_uncontrolled", waited=timeout)
            return False
        return True
