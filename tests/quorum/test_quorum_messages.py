"""What a hostile or broken peer sends is dropped and counted, and its link closed."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.quorum.config import MAX_CARRIED_BYTES
from kraft.quorum.messages import MAX_TERM, MalformedMessageError, parse

GOOD = {
    "append_entries": {
        "term": 5,
        "commit_index": 3,
        "prevLogIdx": 3,
        "prevLogTerm": 2,
        "entries": [[b"\x01", 4, 2], [b"\x00abc", 5, 5]],
    },
    "piece of a snapshot": {
        "type": "append_entries",
        "term": 5,
        "commit_index": 3,
        "serialized": [b"bytes", True, False, 7, 4, 0],
    },
    "next_node_idx": {"term": 5, "next_node_idx": 4, "reset": False, "success": True},
    "request_vote": {"term": 5, "last_log_index": 4, "last_log_term": 2},
    "response_vote": {"term": 5},
    "timeout_now": {"term": 5},
    "pre_vote": {"term": 5, "round": 1, "last_log_index": 4, "last_log_term": 2},
    "pre_vote_reply": {"term": 5, "round": 1, "granted": True},
    "stale_term": {"term": 5},
}
GOOD = {name: {"type": name} | fields for name, fields in GOOD.items()}


def entries(*items):
    return GOOD["append_entries"] | {"entries": list(items)}


def piece(*fields):
    return GOOD["piece of a snapshot"] | {"serialized": list(fields)}


BAD = {
    "nothing": {},
    "a list": [1, 2],
    "a string": "append_entries",
    "no type": {"term": 1},
    "an unknown type": {"type": "apply_command_response", "term": 1},
    "a forwarded proposal": {"type": "apply_command", "term": 5, "command": b"\x00"},
    "a type that is no string": {"type": [1], "term": 1},
    "a negative term": GOOD["stale_term"] | {"term": -1},
    "a term beyond a leader epoch": GOOD["stale_term"] | {"term": MAX_TERM + 1},
    "a term that is true": GOOD["stale_term"] | {"term": True},
    "a term that is a float": GOOD["stale_term"] | {"term": 1.0},
    "an entry in pieces": GOOD["append_entries"] | {"transmission": "finish", "data": b"cos\nsystem"},
    "no previous entry": GOOD["append_entries"] | {"prevLogIdx": None},
    "entries that are a map": GOOD["append_entries"] | {"entries": {}},
    "a gap": entries([b"\x01", 5, 2]),
    "an entry of a later term": entries([b"\x01", 4, 6]),
    "terms that go back": entries([b"\x01", 4, 3], [b"\x01", 5, 2]),
    "a term below the previous": entries([b"\x01", 4, 1]),
    "an empty command": entries([b"", 4, 2]),
    "a pickled membership change": entries([b"\x02cos\nsystem", 4, 2]),
    "a pickled version": entries([b"\x03cos\nsystem", 4, 2]),
    "a command that is a string": entries(["\x01", 4, 2]),
    "an entry with too few fields": entries([b"\x01", 4]),
    "too many bytes": entries([b"\x00" * (MAX_CARRIED_BYTES + 1), 4, 2]),
    "a snapshot that is bytes": GOOD["piece of a snapshot"] | {"serialized": b"cos\nsystem"},
    "a first piece in the middle": piece(b"", True, False, 7, 4, 10),
    "a later piece at the beginning": piece(b"", False, False, 7, 4, 0),
    "a piece before the beginning": piece(b"", False, False, 7, 4, -1),
    "a piece that is too large": piece(b"\x00" * (MAX_CARRIED_BYTES + 1), True, False, 7, 4, 0),
    "a snapshot up to nowhere": piece(b"", True, False, 0, 4, 0),
    "a yes that is 1": GOOD["pre_vote_reply"] | {"granted": 1},
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_message_is_read_with_its_fields_alone(name):
    parsed = parse(cbor2.loads(cbor2.dumps(GOOD[name])) | {"unknown": "field"})
    assert "unknown" not in parsed
    assert cbor2.loads(cbor2.dumps(parsed)) == GOOD[name]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_malformed(name):
    with pytest.raises(MalformedMessageError):
        parse(BAD[name])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.binary(max_size=5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated_messages(draw):
    """A good message with some fields replaced, or missing."""
    message = dict(draw(st.sampled_from(list(GOOD.values()))))
    for name in draw(st.lists(st.sampled_from(sorted(message)), max_size=3)):
        if draw(st.booleans()):
            message[name] = draw(values)
        else:
            message.pop(name, None)
    return message


@given(values | mutated_messages())
def test_nothing_but_malformed_comes_out_of_parse(message):
    try:
        parsed = parse(message)
    except MalformedMessageError:
        return
    assert parse(parsed) == parsed


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_counted_and_its_link_closed(make_cluster, name):
    cluster = make_cluster(3)
    leader = cluster.leader()
    closed: list[int] = []
    leader._links.disconnect = closed.append
    leader.log.receive(1 + leader.node_id % 3, BAD[name])
    assert leader.log.counters.malformed_messages == 1
    assert closed == [1 + leader.node_id % 3]
    cluster.commit([b"still alive"])


def test_a_message_of_a_stranger_is_refused(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    leader.log.receive(99, GOOD["stale_term"])
    assert leader.log.counters.refused_messages == 1
    cluster.commit([b"still alive"])


def test_a_second_leader_in_a_term_is_refused(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    message = GOOD["append_entries"] | {
        "term": leader.log.term,
        "prevLogIdx": 1,
        "prevLogTerm": 0,
        "entries": [],
    }
    leader.log.receive(1 + leader.node_id % 3, message)
    assert leader.log.counters.refused_messages == 1
    assert leader.log.leading_term is not None


def test_a_leader_that_contradicts_what_is_committed_is_refused(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    cluster.run(0.5)
    leader = cluster.leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    lie = {"term": leader.log.term, "commit_index": 0, "prevLogIdx": 1, "prevLogTerm": 0}
    follower.log.receive(leader.node_id, {"type": "append_entries", "entries": [[b"\x01", 2, 0]]} | lie)
    assert follower.log.counters.refused_messages == 1
    assert follower.records == [b"a"]


@settings(max_examples=30)
@given(st.lists(mutated_messages(), min_size=1, max_size=20), st.integers(0, 2**20))
def test_no_sequence_of_messages_raises_out_of_a_driver(make_cluster, messages, seed):
    cluster = make_cluster(3, seed)
    cluster.run(0.5)
    for message in messages:
        cluster.node(1).do(lambda m=message: cluster.node(1).log.receive(2, m))
        cluster.run(0.001)
    assert cluster.node(1).log.term >= 0
