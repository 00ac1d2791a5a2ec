"""The journal on disk: what a node finds again, after which end."""

from __future__ import annotations

import contextlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.disk import CuttableStorage, PowerCutError
from kafkawire.records import headers, records
from kraft.quorum.journal import Journal, Vote
from kraft.quorum.snapshots import CorruptSnapshotError, Snapshot, decode, encode
from kraft.quorum.stored import LOG_DIRECTORY, STATE_FILE, QuorumStore
from logstore.storage import LocalStorage, StorageError

DIRECTORY = "data"


def open_store(storage):
    return QuorumStore.open(storage, DIRECTORY, max_entry_bytes=4096, now_ms=0)


def write(store, journal):
    """Hand the journal's changes to the disk, and see them land."""
    store.apply(journal.take())
    journal.landed()


def filled(storage, terms=(1, 1, 2)):
    """A store with a vote and entries of these terms, from index 1 on."""
    store = open_store(storage)
    journal = Journal(store.entries, store.vote)
    journal.setCurrentTerm(max(terms), 3)
    for index, term in enumerate(terms, 1):
        journal.add(b"\x00entry %d" % index, index, term)
    write(store, journal)
    return store, journal


@pytest.fixture
def storage():
    return CuttableStorage(random.Random(1))


class RecordingStorage(LocalStorage):
    """Keeps the directories whose names were synced."""

    def __init__(self):
        self.synced = set()

    def sync_directory(self, directory):
        super().sync_directory(directory)
        self.synced.add(directory)


def test_the_name_of_a_new_journal_is_durable_before_it_is_used(tmp_path):
    # A synced file in a directory whose own name was never synced may be gone with it. Found by cutting the
    # power of a whole cluster, which came back without its metadata.
    storage = RecordingStorage()
    QuorumStore.open(storage, str(tmp_path), max_entry_bytes=4096, now_ms=0).close()
    assert {str(tmp_path), f"{tmp_path}/{LOG_DIRECTORY}"} <= storage.synced


def test_an_empty_disk_holds_nothing(storage):
    store = open_store(storage)
    assert (store.entries, store.vote, store.snapshot) == ([], Vote(0, None), None)


def test_entries_and_vote_survive_a_power_cut(storage):
    _, journal = filled(storage)
    storage.crash()
    store = open_store(storage)
    assert store.entries == journal[:]
    assert store.vote == Vote(2, 3)


def test_a_log_of_kafkas_format_holds_an_entry_per_batch(storage):
    store, _ = filled(storage)
    store.close()
    name = next(n for n in storage.list(f"{DIRECTORY}/{LOG_DIRECTORY}") if n.endswith(".log"))
    file = storage.open(f"{DIRECTORY}/{LOG_DIRECTORY}/{name}")
    data = file.read_at(0, file.size())
    found = [
        (h.base_offset, h.partition_leader_epoch, [r.value for r in records(data, p)])
        for p, h in headers(data)
    ]
    assert found == [(1, 1, [b"\x00entry 1"]), (2, 1, [b"\x00entry 2"]), (3, 2, [b"\x00entry 3"])]


def test_truncated_entries_are_gone_and_others_in_their_place(storage):
    store, journal = filled(storage)
    journal.deleteEntriesFrom(1)
    journal.add(b"\x00other", 2, 4)
    write(store, journal)
    storage.crash()
    assert open_store(storage).entries == [(b"\x00entry 1", 1, 1), (b"\x00other", 2, 4)]


def test_bytes_that_a_killed_process_left_unsynced_are_synced_before_they_are_believed(storage):
    store, journal = filled(storage)
    journal.add(b"\x00late", 4, 2)
    storage.cut_power_after(1)
    with pytest.raises(PowerCutError):
        store.apply(journal.take())
    storage.kill()
    found = open_store(storage).entries
    storage.crash()
    assert open_store(storage).entries == found


def test_a_snapshot_stands_for_the_entries_before_it(storage):
    store, journal = filled(storage, terms=(1, 1, 2, 2, 2))
    snapshot = Snapshot((journal.entry(3), journal.entry(4)), 17, b"state")
    store.publish(snapshot)
    journal.discard_below(3)
    write(store, journal)
    storage.crash()
    store = open_store(storage)
    assert [index for _, index, _ in store.entries] == [3, 4, 5]
    assert store.snapshot == snapshot


def test_entries_behind_a_snapshot_survive_if_the_power_goes_before_the_log_is_shortened(storage):
    """pysyncobj's own would begin with an empty log here, and lose what it acknowledged."""
    store, journal = filled(storage, terms=(1, 1, 2, 2, 2))
    store.publish(Snapshot((journal.entry(2), journal.entry(3)), 17, b"state"))
    storage.crash()
    assert [index for _, index, _ in open_store(storage).entries] == [2, 3, 4, 5]


@pytest.mark.parametrize("index", [3, 9], ids=["conflict", "beyond the log"])
def test_a_log_that_does_not_go_on_from_the_snapshot_is_replaced(storage, index):
    store, _ = filled(storage)
    snapshot = Snapshot(((b"\x01", index - 1, 7), (b"\x01", index, 7)), 40, b"state")
    store.publish(snapshot)
    storage.crash()
    assert open_store(storage).entries == list(snapshot.entries)
    storage.crash()
    store = open_store(storage)
    journal = Journal(store.entries, store.vote)
    journal.add(b"\x00next", index + 1, 7)
    write(store, journal)
    assert open_store(storage).entries[-1] == (b"\x00next", index + 1, 7)


def test_two_snapshots_are_kept(storage):
    store, journal = filled(storage, terms=(1,) * 9)
    for index in range(2, 9):
        store.publish(Snapshot((journal.entry(index - 1), journal.entry(index)), index, b""))
    names = [n for n in storage.list(f"{DIRECTORY}/{LOG_DIRECTORY}") if n.endswith(".checkpoint")]
    assert [int(name.split("-")[0]) for name in names] == [7, 8]


def test_half_a_snapshot_is_removed(storage):
    store, journal = filled(storage)
    storage.cut_power_after(2)
    with pytest.raises(PowerCutError):
        store.publish(Snapshot((journal.entry(2), journal.entry(3)), 3, b"state" * 100))
    storage.crash()
    assert open_store(storage).snapshot is None
    assert not [n for n in storage.list(f"{DIRECTORY}/{LOG_DIRECTORY}") if ".checkpoint" in n]


def test_a_damaged_snapshot_is_not_started_from(storage):
    store, journal = filled(storage)
    snapshot = Snapshot((journal.entry(2), journal.entry(3)), 3, b"state")
    store.publish(snapshot)
    storage.flip_bit(f"{DIRECTORY}/{LOG_DIRECTORY}/{snapshot.id.file_name}", 400)
    with pytest.raises(StorageError, match="checksum"):
        open_store(storage)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"leaderEpoch": 2, "votedId": 1, "checksum": 0}', '{"leaderEpoch": "x"}']
)
def test_a_damaged_vote_is_not_taken_for_none(storage, text):
    filled(storage)
    storage.write_text_atomically(f"{DIRECTORY}/{LOG_DIRECTORY}/{STATE_FILE}", text)
    with pytest.raises(StorageError, match=STATE_FILE):
        open_store(storage)


def test_the_vote_is_written_under_kafkas_names(storage):
    filled(storage)
    text = storage.read_text(f"{DIRECTORY}/{LOG_DIRECTORY}/{STATE_FILE}")
    assert {"leaderEpoch": 2, "votedId": 3, "data_version": 1}.items() <= json.loads(text).items()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("truncate"), st.integers(1, 4)),
        st.tuples(st.just("vote"), st.integers(1, 3)),
    ),
    max_size=12,
)


@given(steps, steps, st.integers(0, 30), st.integers(0, 2**32))
def test_after_a_power_cut_there_is_what_was_synced_and_a_part_of_the_rest(synced, lost, operations, seed):
    """Every entry that is found was written at its place, and all that landed before is there."""
    storage = CuttableStorage(random.Random(seed))
    store = open_store(storage)
    journal = Journal(store.entries, store.vote)
    journal.add(b"\x01", 1, 0)
    term = _take_steps(journal, synced, 1)
    write(store, journal)
    before, vote_before = journal[:], Vote(journal.getCurrentTerm(), journal.getVotedForNodeId())
    _take_steps(journal, lost, term)
    storage.cut_power_after(operations)
    with contextlib.suppress(PowerCutError):
        store.apply(journal.take())
    storage.crash()
    found = open_store(storage)
    kept = min((len(before), *_truncations(lost, len(before))))
    assert found.entries[:kept] == before[:kept]
    assert [index for _, index, _ in found.entries] == list(range(1, len(found.entries) + 1))
    terms = [entry_term for _, _, entry_term in found.entries]
    assert terms == sorted(terms)
    after = Vote(journal.getCurrentTerm(), journal.getVotedForNodeId())
    assert found.vote in (vote_before, after)


def _take_steps(journal, changes, term):
    for kind, amount in changes:
        if kind == "add":
            for _ in range(amount):
                index = len(journal) + 1
                journal.add(b"\x00%d in %d" % (index, term), index, term)
        elif kind == "truncate":
            term += 1
            journal.deleteEntriesFrom(max(1, len(journal) - amount))
        else:
            term += amount
            journal.setCurrentTerm(term, amount)
    return term


def _truncations(changes, length):
    """The lengths down to which the log was cut on the way."""
    for kind, amount in changes:
        if kind == "add":
            length += amount
        elif kind == "truncate":
            length = max(1, length - amount)
            yield length


snapshots = st.builds(
    lambda index, term, before, commands, offset, state: Snapshot(
        ((commands[0], index - 1, term - before), (commands[1], index, term)), offset, state
    ),
    st.integers(2, 2**40),
    st.integers(5, 2**31),
    st.integers(0, 5),
    st.tuples(st.binary(max_size=10), st.binary(max_size=10)),
    st.integers(0, 2**40),
    st.binary(max_size=50),
)


@given(snapshots)
def test_a_snapshot_comes_back(snapshot):
    assert decode(encode(snapshot)) == snapshot


@given(snapshots, st.data())
def test_any_damage_to_a_snapshot_is_noticed(snapshot, data):
    encoded = bytearray(encode(snapshot))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptSnapshotError):
        decode(bytes(encoded))
    with pytest.raises(CorruptSnapshotError):
        decode(encode(snapshot)[: data.draw(st.integers(0, len(encoded) - 1))])


def test_segments_that_a_snapshot_covers_are_deleted(storage, monkeypatch):
    monkeypatch.setattr("kraft.quorum.stored._SEGMENT_BYTES", 2000)
    store, journal = filled(storage)
    used = []
    for index in range(4, 400):
        journal.add(b"\x00" * 100, index, 2)
        write(store, journal)
        if index % 20 == 0:
            store.publish(Snapshot((journal.entry(index - 1), journal.entry(index)), index, b"state"))
            journal.discard_below(index - 1)
            write(store, journal)
            used.append(storage.used)
    assert used[-1] <= max(used[:3])
    storage.crash()
    assert open_store(storage).entries == journal[:]
