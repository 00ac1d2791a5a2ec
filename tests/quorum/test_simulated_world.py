"""The simulation's own parts: time, network, disk."""

from __future__ import annotations

import contextlib
import random

import pytest

from chaos.disk import CuttableStorage, DiskConditions, PowerCutError, SimulatedDisk
from chaos.network import Network, NetworkConditions
from chaos.virtual_time import EventQueue
from logstore.storage import StorageError


def drain(queue, seconds=60.0):
    until = queue.time() + seconds
    while queue.step(until):
        pass


def test_events_come_in_the_order_of_time_and_then_of_queueing():
    queue, seen = EventQueue(start=0.0), []
    for when, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        queue.call_at(when, seen.append, name)
    drain(queue)
    assert seen == ["a", "b", "c", "d"]


def test_time_jumps_to_the_next_event_and_no_further():
    queue, seen = EventQueue(start=0.0), []
    queue.call_at(5, lambda: seen.append(queue.time()))
    assert not queue.step(until=4)
    assert queue.time() == 4
    assert queue.step(until=9)
    assert seen == [5]
    assert queue.time() == 5


def test_an_event_that_is_taken_back_does_not_happen():
    queue, seen = EventQueue(), []
    queue.call_at(queue.time() + 1, seen.append, "no").cancel()
    drain(queue)
    assert seen == []


def test_an_event_in_the_past_happens_now():
    queue, seen = EventQueue(start=10.0), []
    queue.call_at(3, lambda: seen.append(queue.time()))
    drain(queue)
    assert seen == [10.0]


class Listener:
    """An endpoint that writes down what it is told."""

    def __init__(self):
        self.seen = []

    def connected(self, peer):
        self.seen.append(("connected", peer))

    def disconnected(self, peer):
        self.seen.append(("disconnected", peer))

    def received(self, peer, payload):
        self.seen.append((payload, peer))


@pytest.fixture
def queue():
    return EventQueue()


@pytest.fixture
def net(queue):
    return Network(queue, random.Random(1), NetworkConditions(dead_after=1.0))


@pytest.fixture
def ends(queue, net):
    ends = Listener(), Listener()
    for node, end in enumerate(ends, 1):
        net.join(node, end)
    drain(queue)
    assert [end.seen for end in ends] == [[("connected", 2)], [("connected", 1)]]
    for end in ends:
        end.seen.clear()
    return ends


def test_messages_arrive_in_order(queue, net, ends):
    for number in range(20):
        assert net.send(1, 2, number)
    drain(queue)
    assert ends[1].seen == [(number, 1) for number in range(20)]


def test_a_cut_holds_messages_until_it_is_mended(queue, net, ends):
    net.cut(1, 2)
    assert net.send(1, 2, "held")
    assert net.send(2, 1, "the other way")
    drain(queue, 0.5)
    assert ends[1].seen == []
    assert ends[0].seen == [("the other way", 2)]
    net.mend(1, 2)
    drain(queue, 0.5)
    assert ends[1].seen == [("held", 1)]


def test_a_message_under_way_is_caught_by_a_cut(queue, net, ends):
    net.send(1, 2, "under way")
    net.cut(1, 2)
    drain(queue, 0.5)
    assert ends[1].seen == []


def test_a_long_cut_closes_the_link_and_loses_what_it_held(queue, net, ends):
    net.cut(1, 2)
    net.send(1, 2, "lost")
    drain(queue, 2.0)
    assert ends[0].seen == [("disconnected", 2)]
    assert not net.send(1, 2, "not sent")
    assert net.connected(1) == set()
    assert net.connected(2) == {1}
    net.mend_all()
    drain(queue)
    assert ends[0].seen == [("disconnected", 2), ("connected", 2)]
    assert ends[1].seen == []


def test_a_reset_loses_what_was_under_way_and_comes_back(queue, net, ends):
    net.send(1, 2, "lost")
    net.reset(1, 2)
    drain(queue)
    assert ends[1].seen == []
    assert ends[0].seen == [("disconnected", 2), ("connected", 2)]


def test_a_node_that_leaves_is_told_nothing_and_the_other_is(queue, net, ends):
    net.leave(1)
    drain(queue)
    assert ends[0].seen == []
    assert ends[1].seen == [("disconnected", 1)]


@pytest.fixture
def storage():
    storage = CuttableStorage(random.Random(1))
    storage.make_directory("d")
    return storage


def write_and_sync(storage, name):
    file = storage.open(f"d/{name}", create=True)
    file.write_at(0, name.encode())
    file.sync()
    file.close()


def test_a_disk_works_in_order_and_takes_its_time(queue, storage):
    disk, seen = SimulatedDisk(queue, random.Random(1), storage, DiskConditions(delay=(1.0, 1.0))), []
    begin = queue.time()
    for name in "abc":
        disk.run(
            lambda n=name: write_and_sync(storage, n),
            lambda error, n=name: seen.append((n, error, queue.time() - begin)),
        )
    assert seen == []
    drain(queue)
    assert seen == [("a", None, 1.0), ("b", None, 2.0), ("c", None, 3.0)]
    assert list(storage.list("d")) == ["a", "b", "c"]


def test_a_disk_reports_its_failures(queue, storage):
    disk, seen = SimulatedDisk(queue, random.Random(1), storage, DiskConditions()), []
    storage.fail_syncs()
    disk.run(lambda: write_and_sync(storage, "a"), seen.append)
    drain(queue)
    assert [type(error) for error in seen] == [StorageError]


def test_work_that_was_under_way_in_a_crash_is_not_reported_and_may_be_done_in_part(queue):
    outcomes = set()
    for seed in range(200):
        storage = CuttableStorage(random.Random(seed))
        storage.make_directory("d")
        disk, seen = SimulatedDisk(queue, random.Random(seed), storage, DiskConditions()), []
        for name in "ab":
            disk.run(lambda n=name, s=storage: write_and_sync(s, n), seen.append)
        disk.crash(power_lost=True)
        drain(queue)
        assert seen == []
        assert not storage.exists("d/b")
        outcomes.add(storage.open("d/a").size() if storage.exists("d/a") else None)
    assert outcomes >= {0, 1}


def test_what_fails_in_a_crash_is_nobodys_failure(queue):
    """The disk refuses the sync that a dying process had just asked for."""
    refused = 0
    for seed in range(50):
        storage = CuttableStorage(random.Random(seed))
        storage.make_directory("d")
        storage.fail_syncs()
        disk, seen = SimulatedDisk(queue, random.Random(seed), storage, DiskConditions()), []
        disk.run(lambda s=storage: write_and_sync(s, "a"), seen.append)
        disk.crash(power_lost=False)
        drain(queue)
        assert seen == []
        with contextlib.suppress(StorageError):
            write_and_sync(storage, "b")
            refused += 1  # the one failure was that of the dying process
    assert refused


def test_power_is_cut_after_so_many_operations(storage):
    storage.cut_power_after(1)
    with pytest.raises(PowerCutError):
        write_and_sync(storage, "a")
    storage.kill()
    write_and_sync(storage, "b")
