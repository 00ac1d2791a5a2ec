"""The handshake and the session, without a socket and on a clock of the test's own."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.transport import AuthenticationError, Limits, ProtocolError
from kraft.transport.handshake import LINK_PATH, Gatekeeper, Identity, Introduction, ReplayWindow, Signer

SECRET = b"s" * 32
SERVER = Identity(7, "cluster-1")
CLIENT = Identity(3, "cluster-1", "broker")
LIMITS = Limits(pending_handshakes=4, handshake_seconds=5.0)


def gatekeeper(secret: bytes = SECRET, identity: Identity = SERVER) -> Gatekeeper:
    return Gatekeeper(identity, secret, LIMITS)


def introduce(keeper: Gatekeeper, client: Introduction, now: float = 0.0) -> Signer:
    answer, mismatch = keeper.hello(client.hello(), now)
    assert mismatch is None
    transcript, proof = client.challenged(answer)
    return client.accepted(transcript, keeper.prove(proof, now))


def test_both_sides_learn_who_the_other_is() -> None:
    keeper = gatekeeper()
    signer = introduce(keeper, Introduction(CLIENT, SECRET, 7))
    session = keeper.open(signer.sign(LINK_PATH, b"")[1], 0.0)
    assert session.client == CLIENT


def test_a_client_without_the_secret_is_refused() -> None:
    keeper, client = gatekeeper(), Introduction(CLIENT, b"x" * 32, 7)
    _, proof = client.challenged(keeper.hello(client.hello(), 0.0)[0])
    with pytest.raises(AuthenticationError, match="node 3 of cluster 'cluster-1' does not hold"):
        keeper.prove(proof, 0.0)


def test_a_server_without_the_secret_is_refused() -> None:
    client = Introduction(CLIENT, SECRET, 7)
    transcript, _ = client.challenged(gatekeeper().hello(client.hello(), 0.0)[0])
    forged = cbor2.dumps([b"i" * 16, transcript.server_proof(b"x" * 32, b"i" * 16)])
    with pytest.raises(AuthenticationError, match="node 7 of cluster 'cluster-1' does not hold"):
        client.accepted(transcript, forged)


def test_a_client_proof_is_no_server_proof() -> None:
    client = Introduction(CLIENT, SECRET, 7)
    transcript, proof = client.challenged(gatekeeper().hello(client.hello(), 0.0)[0])
    reflected = cbor2.dumps([b"i" * 16, cbor2.loads(proof)[1]])
    with pytest.raises(AuthenticationError):
        client.accepted(transcript, reflected)


@pytest.mark.parametrize(
    ("server", "client"),
    [(Identity(7, "other"), CLIENT), (Identity(8, "cluster-1"), CLIENT)],
    ids=["another cluster", "another node"],
)
def test_an_unexpected_server_is_named_on_both_sides(server: Identity, client: Identity) -> None:
    introduction = Introduction(client, SECRET, 7)
    answer, mismatch = gatekeeper(identity=server).hello(introduction.hello(), 0.0)
    assert str(server) in str(mismatch)
    assert str(client) in str(mismatch)
    with pytest.raises(AuthenticationError) as caught:
        introduction.challenged(answer)
    assert str(server) in str(caught.value)
    assert str(Identity(7, "cluster-1")) in str(caught.value)


def test_a_role_that_was_changed_on_the_way_breaks_the_proof() -> None:
    keeper, client = gatekeeper(), Introduction(CLIENT, SECRET, 7)
    hello = cbor2.loads(client.hello())
    hello[3] = "controller"
    _, proof = client.challenged(keeper.hello(cbor2.dumps(hello), 0.0)[0])
    with pytest.raises(AuthenticationError):
        keeper.prove(proof, 0.0)


def test_a_proof_is_good_once_and_not_for_long() -> None:
    keeper, client = gatekeeper(), Introduction(CLIENT, SECRET, 7)
    _, proof = client.challenged(keeper.hello(client.hello(), 0.0)[0])
    keeper.prove(proof, 5.0)
    with pytest.raises(AuthenticationError, match="used"):
        keeper.prove(proof, 5.0)
    _, late = client.challenged(keeper.hello(client.hello(), 10.0)[0])
    with pytest.raises(AuthenticationError, match="expired"):
        keeper.prove(late, 15.1)


def test_a_link_is_opened_once_and_not_for_long() -> None:
    keeper = gatekeeper()
    authorization = introduce(keeper, Introduction(CLIENT, SECRET, 7)).sign(LINK_PATH, b"")[1]
    keeper.open(authorization, 1.0)
    with pytest.raises(AuthenticationError):
        keeper.open(authorization, 1.0)
    late = introduce(keeper, Introduction(CLIENT, SECRET, 7), 10.0).sign(LINK_PATH, b"")[1]
    with pytest.raises(AuthenticationError, match="expired"):
        keeper.open(late, 15.1)


def test_challenges_are_bounded_and_the_oldest_gives_way() -> None:
    keeper = gatekeeper()
    clients = [Introduction(CLIENT, SECRET, 7) for _ in range(LIMITS.pending_handshakes + 1)]
    proofs = [client.challenged(keeper.hello(client.hello(), 0.0)[0])[1] for client in clients]
    with pytest.raises(AuthenticationError):
        keeper.prove(proofs[0], 0.0)
    for proof in proofs[1:]:
        keeper.prove(proof, 0.0)


@pytest.mark.parametrize("field", ["path", "body"])
def test_a_request_is_signed_as_a_whole(field: str) -> None:
    keeper = gatekeeper()
    signer = introduce(keeper, Introduction(CLIENT, SECRET, 7))
    session = keeper.open(signer.sign(LINK_PATH, b"")[1], 0.0)
    counter, authorization = signer.sign("/rpc/a", b"body")
    proof = bytes.fromhex(authorization.rsplit(".", 1)[1])
    with pytest.raises(AuthenticationError, match="signature"):
        session.verify(
            "/rpc/b" if field == "path" else "/rpc/a", counter, proof, b"body" if field == "path" else b""
        )
    with pytest.raises(AuthenticationError, match="signature"):
        session.verify("/rpc/a", counter + 1, proof, b"body")
    session.verify("/rpc/a", counter, proof, b"body")
    with pytest.raises(AuthenticationError, match="before"):
        session.verify("/rpc/a", counter, proof, b"body")


@given(st.binary(max_size=200))
def test_hostile_handshakes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    keeper, client = gatekeeper(), Introduction(CLIENT, SECRET, 7)
    with pytest.raises(ProtocolError):
        keeper.hello(data, 0.0)
    with pytest.raises((ProtocolError, AuthenticationError)):
        keeper.prove(data, 0.0)
    with pytest.raises((ProtocolError, AuthenticationError)):
        client.challenged(data)
    with pytest.raises(AuthenticationError):
        keeper.open(data.decode("latin-1"), 0.0)


def test_another_version_is_named() -> None:
    with pytest.raises(ProtocolError, match="version 2"):
        gatekeeper().hello(cbor2.dumps([2, "whatever follows"]), 0.0)


@given(st.lists(st.integers(-2, 60), max_size=80))
def test_a_replay_window_accepts_each_counter_once(counters: list[int]) -> None:
    size = 16
    window, seen, highest = ReplayWindow(size), set[int](), -1
    for counter in counters:
        expected = counter >= 0 and counter not in seen and counter > highest - size
        assert window.accept(counter) == expected
        if expected:
            seen.add(counter)
            highest = max(highest, counter)
