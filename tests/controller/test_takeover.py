"""What a controller that becomes active makes of the links that it has, and of those that it has lost."""

from __future__ import annotations

import asyncio

from kraft.controller.endpoints import ControllerEndpoints
from kraft.transport.handlers import Handlers
from kraft.transport.handshake import Identity, Session
from kraft.transport.limits import DEFAULT_LIMITS
from kraft.transport.link import Link
from metadata.controller.commands import BrokerHeartbeat, RegisterBrokerReply, Tick
from metadata.controller.decision import ControllerConfig
from tests.controller.test_controller_service import CLUSTER, ControllerNode, Quorum, registration

CONFIG = ControllerConfig(CLUSTER)
DEAD, ALIVE = 11, 12


class Standby:
    """A controller that is not active yet, and the links that brokers have to it."""

    def __init__(self, node: ControllerNode) -> None:
        self.node = node
        self.handlers = Handlers(DEFAULT_LIMITS, on_fatal=lambda error: None)
        ControllerEndpoints(node.service, lambda: None).register(self.handlers)  # type: ignore[arg-type,return-value]
        self._numbers = iter(range(1, 100))

    def link(self, peer_id: int) -> Link:
        identity = Identity(peer_id, CLUSTER, "broker")
        link = Link(Session(next(self._numbers).to_bytes(16), b"", identity), lambda: None)
        for tell in self.handlers.link_opened:
            tell(link)
        return link


async def standbys() -> tuple[Quorum, list[Standby]]:
    """A quorum with two brokers, and its two controllers that are not active."""
    quorum = Quorum()
    active = await quorum.active()
    for broker_id in (DEAD, ALIVE):
        registered = await quorum.answer(active.service.submit(registration(broker_id)))
        assert isinstance(registered, RegisterBrokerReply)
        beat = BrokerHeartbeat(broker_id, registered.broker_epoch, active.service.image.offset)
        await quorum.answer(active.service.submit(beat))
    others = [node for node in quorum.nodes if node is not active]
    await quorum.until(lambda: all(node.service.image.is_active(ALIVE) for node in others))
    return quorum, [Standby(node) for node in others]


async def fenced_after(quorum: Quorum, seconds: float) -> set[int]:
    """Who is fenced when another controller has been active for so long."""
    (old,) = (node for node in quorum.nodes if node.service.active)
    quorum.isolate(old)
    await quorum.until(lambda: any(node.service.active for node in quorum.nodes if node is not old))
    (new,) = (node for node in quorum.nodes if node.service.active and node is not old)
    looked_at = quorum.queue.time() + seconds
    quorum.queue.call_at(looked_at, lambda: None)
    await quorum.until(lambda: quorum.queue.time() >= looked_at)
    await quorum.answer(new.service.submit(Tick()))
    return {broker_id for broker_id in (DEAD, ALIVE) if not new.service.image.is_active(broker_id)}


async def test_a_broker_that_died_with_the_active_controller_is_not_waited_for() -> None:
    quorum, others = await standbys()
    for standby in others:
        standby.link(ALIVE)
        await standby.link(DEAD).ended()
    assert CONFIG.disconnect_grace < CONFIG.takeover_grace / 2
    assert await fenced_after(quorum, CONFIG.takeover_grace / 2) == {DEAD}


async def test_a_controller_that_lost_every_link_waits_for_all_brokers() -> None:
    """It may have been paused itself; links that came since tell nothing of those that did not come yet."""
    quorum, others = await standbys()
    for standby in others:
        both = standby.link(ALIVE), standby.link(DEAD)
        await asyncio.gather(*(link.ended() for link in both))
        standby.link(ALIVE)
        standby.link(standby.node.node_id)
    assert await fenced_after(quorum, CONFIG.takeover_grace / 2) == set()


async def test_a_broker_that_has_a_new_link_lives() -> None:
    quorum, others = await standbys()
    for standby in others:
        standby.link(ALIVE)
        await standby.link(DEAD).ended()
        standby.link(DEAD)
    assert await fenced_after(quorum, 2 * CONFIG.takeover_grace) == set()


async def test_a_broker_without_any_link_has_its_grace() -> None:
    quorum, others = await standbys()
    for standby in others:
        standby.link(ALIVE)
    assert await fenced_after(quorum, CONFIG.takeover_grace / 2) == set()


async def test_the_grace_of_a_broker_without_any_link_ends() -> None:
    quorum, others = await standbys()
    for standby in others:
        standby.link(ALIVE)
    assert await fenced_after(quorum, 1.1 * CONFIG.takeover_grace) == {DEAD}
