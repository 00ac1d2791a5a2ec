"""Which brokers are alive, as far as the active controller can tell: soft state, never in the log.

All of it is lost with the leadership of the quorum. A new active controller starts from the brokers that the
image says are unfenced, and gives them a moment to find it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from metadata.controller.decision import ControllerConfig
from metadata.image import BrokerState, MetadataImage


class Unconfirmed(msgspec.Struct, frozen=True):
    """Unfenced when this controller took over, or was away for a while, and not heard from since."""

    until: float


class Alive(msgspec.Struct, frozen=True):
    """Heard from. The session ends at `until` unless it is heard from again."""

    until: float


class Disconnected(msgspec.Struct, frozen=True):
    """Its stream broke. Only a new stream saves it: a heartbeat may have been under way when it died."""

    until: float


Contact: TypeAlias = Unconfirmed | Alive | Disconnected


class Session(msgspec.Struct, frozen=True):
    """One incarnation of a broker. `metadata_offset` is the last offset that it said to have applied;
    `shutdown_offset` the offset that all must have applied before it may stop (-1: not shutting down)."""

    epoch: int
    contact: Contact
    metadata_offset: int = -1
    shutdown_offset: int = -1


class Sessions:
    """The session of every broker that may be alive, fenced ones included. Times are monotonic seconds."""

    def __init__(self, config: ControllerConfig, image: MetadataImage, now: float) -> None:
        self._config = config
        self._sessions: dict[int, Session] = {}
        for broker in image.brokers.values():
            if broker.state is not BrokerState.FENCED:
                leaving = broker.state is BrokerState.SHUTTING_DOWN
                self._sessions[broker.broker_id] = Session(
                    broker.epoch,
                    Unconfirmed(now + config.takeover_grace),
                    shutdown_offset=image.offset if leaving else -1,
                )

    def start(self, broker_id: int, epoch: int, now: float) -> None:
        """A broker registered."""
        self._sessions[broker_id] = Session(epoch, self._alive(now))

    def heard(self, broker_id: int, epoch: int, metadata_offset: int, now: float) -> None:
        """A heartbeat came."""
        session = self._sessions.get(broker_id)
        if session is None or session.epoch != epoch:
            session = Session(epoch, self._alive(now))
        contact = session.contact if isinstance(session.contact, Disconnected) else self._alive(now)
        self._sessions[broker_id] = replace(session, contact=contact, metadata_offset=metadata_offset)

    def connected(self, broker_id: int, epoch: int, now: float) -> None:
        """The broker's stream stands."""
        session = self._sessions.get(broker_id)
        if session is None or session.epoch != epoch:
            session = Session(epoch, self._alive(now))
        self._sessions[broker_id] = replace(session, contact=self._alive(now))

    def disconnected(self, broker_id: int, epoch: int, now: float) -> None:
        """The broker's stream broke. Nothing happens if the session is another one's."""
        session = self._sessions.get(broker_id)
        if session is not None and session.epoch == epoch and not isinstance(session.contact, Disconnected):
            until = min(now + self._config.disconnect_grace, session.contact.until)
            self._sessions[broker_id] = replace(session, contact=Disconnected(until))

    def metadata_offset(self, broker_id: int) -> int:
        """The last offset that the broker said to have applied; -1 if it has said nothing yet."""
        session = self._sessions.get(broker_id)
        return -1 if session is None else session.metadata_offset

    def shutting_down(self, broker_id: int, offset: int) -> None:
        """A controlled shutdown began, with records up to `offset`."""
        self._sessions[broker_id] = replace(self._sessions[broker_id], shutdown_offset=offset)

    def may_stop(self, broker_id: int, image: MetadataImage) -> bool:
        """Whether the broker and all active ones know that it leads nothing any more."""
        session = self._sessions[broker_id]
        others = (each.metadata_offset for other, each in self._sessions.items() if image.is_active(other))
        return (
            min(others, default=session.metadata_offset) >= session.shutdown_offset <= session.metadata_offset
        )

    def excuse(self, now: float, away: float) -> None:
        """This controller did not run for `away` seconds: what it did not hear in that time may be waiting to
        be read, so those whose sessions ended meanwhile get a moment."""
        until = now + min(away, self._config.takeover_grace)
        for broker_id, session in self._sessions.items():
            if isinstance(session.contact, Alive) and session.contact.until <= now:
                self._sessions[broker_id] = replace(session, contact=Unconfirmed(until))

    def end(self, broker_id: int) -> None:
        """The broker was fenced or is gone."""
        self._sessions.pop(broker_id, None)

    def occupied(self, broker_id: int, now: float) -> bool:
        """Whether a process lives under this id for all we know, so that no other may take its place."""
        session = self._sessions.get(broker_id)
        return session is not None and isinstance(session.contact, Alive) and now < session.contact.until

    def expired(self, now: float) -> Iterator[int]:
        """Brokers whose session is over."""
        return (broker_id for broker_id, session in self._sessions.items() if session.contact.until <= now)

    def next_deadline(self) -> float:
        """When the first session ends if nothing is heard; infinity without any."""
        return min((session.contact.until for session in self._sessions.values()), default=inf)

    def _alive(self, now: float) -> Alive:
        return Alive(now + self._config.session_timeout)
