"""How two nodes prove to each other that they hold the cluster's secret.

Before the link there is only HTTP with bodies of at most `Limits.handshake_bytes`, all of them CBOR lists. C
dials, S accepts; H is HMAC-SHA256 under the key before the semicolon, over parts that each carry their
length.

    1. C → S  POST /kraft/hello   [version, cluster id, C's node id, C's role, S's node id, nonce C]
       S → C                      [cluster id, S's node id, nonce S]
    2. C → S  POST /kraft/proof   [nonce S, H(secret; "client", transcript)]
       S → C                      [session id, H(secret; "server", transcript, session id)]
    3. C → S  GET /kraft/link     the upgrade to a WebSocket, signed as below
       C → S  POST /rpc/<method>  a bulk call, signed as below

The transcript is everything that both lines of step 1 say, as each side knows it, so ids and role are what
the other side claims *and* proves. Neither nonce is chosen by one side alone, so no proof can be used twice,
and "client" and "server" keep one side's proof from being handed back to it. The client proves first: a
server tells strangers its ids and nothing that depends on the secret. A challenge is used up by the first
proof that names it, right or wrong.

Both sides then hold the session key H(secret; "session", transcript). A request of the session carries

    Authorization: Kraft <session id>.<counter>.<H(session key; "request", path, counter, body)>

Each counter is accepted once (`ReplayWindow`; bulk calls on several connections may overtake each other a
little), and the answer to a bulk call carries `X-Kraft-Proof: H(session key; "reply", counter, header)`; the
payload that follows it is record batches with checksums of their own. A session ends with its link.

What this does not give: secrecy, or integrity of the bytes on an established connection against someone who
can rewrite them. That is TLS's part.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import cbor2
import msgspec

from kraft.transport.errors import AuthenticationError, ProtocolError
from kraft.transport.limits import Limits
from kraft.transport.messages import Buffer, decode_value

VERSION: Final = 1
NONCE_SIZE: Final = 32
SESSION_ID_SIZE: Final = 16
MAX_ROLE: Final = 64
MAX_CLUSTER_ID: Final = 128

HELLO_PATH: Final = "/kraft/hello"
PROOF_PATH: Final = "/kraft/proof"
LINK_PATH: Final = "/kraft/link"
RPC_PATH: Final = "/rpc/"
SCHEME: Final = "Kraft "
AUTHORIZATION: Final = re.compile(SCHEME + r"([0-9a-f]{32})\.([0-9]{1,18})\.([0-9a-f]{64})")
PROOF_HEADER: Final = "X-Kraft-Proof"


class Identity(msgspec.Struct, frozen=True):
    """Who a node says it is."""

    node_id: int
    cluster_id: str
    role: str = "node"

    def __str__(self) -> str:
        return f"node {self.node_id} of cluster {self.cluster_id!r}"


def mac(key: bytes, label: str, *parts: Buffer) -> bytes:
    """HMAC-SHA256 over label and parts, each preceded by its length, so that no two lists look alike."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in (label.encode(), *parts):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class ReplayWindow:
    """Accepts each counter once; one that is `size` or more behind the largest seen counts as seen."""

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._highest = -1
        self._seen = 0  # bit n: `highest - n` was seen

    def accept(self, counter: int) -> bool:
        """True the first time, False for a counter that was seen, is too old, or is negative."""
        if counter > self._highest:
            ahead = min(counter - self._highest, self._size)
            self._seen = ((self._seen << ahead) | 1) & ((1 << self._size) - 1)
            self._highest = counter
            return True
        behind = self._highest - counter
        if counter < 0 or behind >= self._size or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True


class Transcript(msgspec.Struct, frozen=True):
    """What step 1 said, as one side knows it."""

    client: Identity
    server: Identity
    client_nonce: bytes
    server_nonce: bytes

    def _encoded(self) -> bytes:
        client, server = self.client, self.server
        return cbor2.dumps(
            [
                *(VERSION, client.cluster_id, client.node_id, client.role, self.client_nonce),
                *(server.cluster_id, server.node_id, self.server_nonce),
            ]
        )

    def client_proof(self, secret: bytes) -> bytes:
        """What shows that the client holds the secret."""
        return mac(secret, "client", self._encoded())

    def server_proof(self, secret: bytes, session_id: bytes) -> bytes:
        """What shows that the server holds the secret."""
        return mac(secret, "server", self._encoded(), session_id)

    def session_key(self, secret: bytes) -> bytes:
        """The key of the session that follows; it never travels."""
        return mac(secret, "session", self._encoded())


def sign_request(session_id: bytes, key: bytes, path: str, counter: int, body: Buffer) -> str:
    """The Authorization header of one request of a session."""
    proof = mac(key, "request", path.encode(), counter.to_bytes(8, "big"), body)
    return f"{SCHEME}{session_id.hex()}.{counter}.{proof.hex()}"


def reply_proof(key: bytes, counter: int, header: Buffer) -> bytes:
    """What shows that the answer to request `counter` comes from the server; `header` includes its length."""
    return mac(key, "reply", counter.to_bytes(8, "big"), header)


class Session(msgspec.Struct):
    """The server's side of one client's session."""

    id: bytes
    key: bytes
    client: Identity
    window: ReplayWindow = msgspec.field(default_factory=ReplayWindow)

    def verify(self, path: str, counter: int, proof: bytes, body: Buffer) -> None:
        """AuthenticationError unless the client signed this request and it is the first of its counter."""
        expected = mac(self.key, "request", path.encode(), counter.to_bytes(8, "big"), body)
        if not hmac.compare_digest(expected, proof):
            raise AuthenticationError(f"{self.client}: a request whose signature is wrong")
        if not self.window.accept(counter):
            raise AuthenticationError(f"{self.client}: request {counter} was sent before")


def parse_authorization(text: str) -> tuple[bytes, int, bytes]:
    """Session id, counter and signature of an Authorization header; AuthenticationError if it is not ours."""
    found = AUTHORIZATION.fullmatch(text)
    if found is None:
        raise AuthenticationError("a request without a valid Authorization header")
    return bytes.fromhex(found[1]), int(found[2]), bytes.fromhex(found[3])


class Gatekeeper:
    """The server's side of the handshake: plain calls, no I/O; `now` is monotonic seconds."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes,
        limits: Limits,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._identity = identity
        self._secret = secret
        self._limits = limits
        self._random_bytes = random_bytes
        self._challenges: OrderedDict[bytes, tuple[float, Transcript]] = OrderedDict()
        self._waiting: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()

    def hello(self, body: bytes, now: float) -> tuple[bytes, AuthenticationError | None]:
        """Answer step 1: the bytes to send, and what is wrong with the client's expectation if something is.

        The answer names this node either way, so that the client can say what it found. ProtocolError when
        the body is no hello.
        """
        client, expected, client_nonce = _parse_hello(body)
        mine = self._identity
        server_nonce = self._random_bytes(NONCE_SIZE)
        answer = cbor2.dumps([mine.cluster_id, mine.node_id, server_nonce])
        if client.cluster_id != mine.cluster_id or expected != mine.node_id:
            wanted = f"looks for node {expected} of its cluster and found {mine}"
            return answer, AuthenticationError(f"{client} {wanted}")
        server = Identity(mine.node_id, mine.cluster_id, "")
        transcript = Transcript(client, server, client_nonce, server_nonce)
        self._keep(self._challenges, server_nonce, transcript, now)
        return answer, None

    def prove(self, body: bytes, now: float) -> bytes:
        """Answer step 2; the session waits for its link. AuthenticationError, ProtocolError."""
        match decode_value(body):
            case [bytes(server_nonce), bytes(proof)]:
                pass
            case _:
                raise ProtocolError("a proof that is not [nonce, proof]")
        deadline, transcript = self._challenges.pop(server_nonce, (now, None))
        if transcript is None or now > deadline:
            raise AuthenticationError("a proof for a challenge that does not exist, was used or has expired")
        if not hmac.compare_digest(transcript.client_proof(self._secret), proof):
            raise AuthenticationError(f"{transcript.client} does not hold this cluster's secret")
        session_id = self._random_bytes(SESSION_ID_SIZE)
        session = Session(session_id, transcript.session_key(self._secret), transcript.client)
        self._keep(self._waiting, session_id, session, now)
        return cbor2.dumps([session_id, transcript.server_proof(self._secret, session_id)])

    def open(self, authorization: str, now: float) -> Session:
        """Step 3: the session whose link this signed request opens; AuthenticationError."""
        session_id, counter, proof = parse_authorization(authorization)
        deadline, session = self._waiting.get(session_id, (now, None))
        if session is None or now > deadline:
            raise AuthenticationError("a link for a session that does not exist, has a link or has expired")
        session.verify(LINK_PATH, counter, proof, b"")
        del self._waiting[session_id]
        return session

    def _keep(
        self,
        table: OrderedDict[bytes, tuple[float, Any]],
        key: bytes,
        value: Transcript | Session,
        now: float,
    ) -> None:
        """Remember until the deadline; what is over the limit or past its own deadline goes."""
        table[key] = (now + self._limits.handshake_seconds, value)
        while table:
            deadline, _ = next(iter(table.values()))
            if deadline >= now and len(table) <= self._limits.pending_handshakes:
                break
            table.popitem(last=False)


def _parse_hello(body: bytes) -> tuple[Identity, int, bytes]:
    """Who the client is, which node id it expects here, and its nonce; ProtocolError."""
    match decode_value(body):
        case [int(version), *_] if version != VERSION:
            raise ProtocolError(f"handshake version {version}, and this node speaks {VERSION}")
        case [int(), str(cluster_id), int(node_id), str(role), int(expected), bytes(nonce)]:
            if len(nonce) == NONCE_SIZE and len(role) <= MAX_ROLE and len(cluster_id) <= MAX_CLUSTER_ID:
                return Identity(node_id, cluster_id, role), expected, nonce
    raise ProtocolError("a hello that is not [version, cluster id, node id, role, node id, nonce]")


class Introduction:
    """The client's side of the handshake: plain calls, no I/O."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes,
        peer_id: int,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._identity = identity
        self._secret = secret
        self._peer_id = peer_id
        self._nonce = random_bytes(NONCE_SIZE)

    def hello(self) -> bytes:
        """The body of step 1."""
        mine = self._identity
        return cbor2.dumps([VERSION, mine.cluster_id, mine.node_id, mine.role, self._peer_id, self._nonce])

    def challenged(self, body: bytes) -> tuple[Transcript, bytes]:
        """Read the answer to step 1: the transcript and the body of step 2. AuthenticationError,
        ProtocolError.
        """
        match decode_value(body):
            case [str(cluster_id), int(node_id), bytes(nonce)] if len(nonce) == NONCE_SIZE:
                found = Identity(node_id, cluster_id, "")
            case _:
                raise ProtocolError("a challenge that is not [cluster id, node id, nonce]")
        expected = Identity(self._peer_id, self._identity.cluster_id, "")
        if found != expected:
            raise AuthenticationError(f"{self._identity} expects {expected} there and found {found}")
        transcript = Transcript(self._identity, found, self._nonce, nonce)
        return transcript, cbor2.dumps([nonce, transcript.client_proof(self._secret)])

    def accepted(self, transcript: Transcript, body: bytes) -> Signer:
        """Read the answer to step 2: what to sign requests with. AuthenticationError, ProtocolError."""
        match decode_value(body):
            case [bytes(session_id), bytes(proof)] if len(session_id) == SESSION_ID_SIZE:
                pass
            case _:
                raise ProtocolError("an answer to a proof that is not [session id, proof]")
        if not hmac.compare_digest(transcript.server_proof(self._secret, session_id), proof):
            raise AuthenticationError(f"{transcript.server} does not hold this cluster's secret")
        return Signer(session_id, transcript.session_key(self._secret))


class Signer:
    """The client's side of a session: signs each request with the next counter and checks answers."""

    __slots__ = ("_counter", "_key", "_session_id")

    def __init__(self, session_id: bytes, key: bytes) -> None:
        self._session_id = session_id
        self._key = key
        self._counter = 0

    def sign(self, path: str, body: Buffer) -> tuple[int, str]:
        """The request's counter and its Authorization header."""
        counter = self._counter
        self._counter += 1
        return counter, sign_request(self._session_id, self._key, path, counter, body)

    def check_reply(self, counter: int, header: Buffer, proof: str) -> None:
        """AuthenticationError unless the answer to request `counter` comes from the server."""
        expected = reply_proof(self._key, counter, header).hex()
        if not hmac.compare_digest(expected.encode(), proof.encode("ascii", "replace")):
            raise AuthenticationError("an answer to a bulk call whose signature is wrong")
