"""What comes from another voter over its links, of which it may have several for a moment."""

from __future__ import annotations

from kraft.controller.quorum_links import RAFT, TransportLinks
from kraft.quorum.links import Message
from kraft.transport.handlers import Handlers
from kraft.transport.handshake import Identity, Session
from kraft.transport.limits import DEFAULT_LIMITS
from kraft.transport.link import Link


async def test_what_is_left_in_a_link_after_its_peer_dialled_anew_is_dropped() -> None:
    handlers = Handlers(DEFAULT_LIMITS, on_fatal=lambda error: None)
    links = TransportLinks()
    links.register(handlers)
    received: list[Message] = []
    links.on_message = lambda peer_id, message: received.append(message)
    cut: list[str] = []

    def link(name: str) -> Link:
        return Link(Session(name.encode(), b"", Identity(2, "a-cluster")), lambda: cut.append(name))

    old, new = link("old"), link("new")
    for number, each in enumerate((old, new, old, new)):
        handlers.notifications[RAFT](each, {"number": number})
    assert [message["number"] for message in received] == [0, 1, 3]
    assert cut == ["old"]
    await old.ended()
    handlers.notifications[RAFT](new, {"number": 4})
    assert cut == ["old"]
