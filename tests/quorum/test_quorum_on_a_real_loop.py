"""Three drivers on an asyncio loop, with real files, real threads for the disk, and links in the process."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random

import cbor2
import pytest
from pysyncobj import syncobj

from kraft.quorum import ambient
from kraft.quorum.config import QuorumConfig
from kraft.quorum.disk import ThreadDiskWorker
from kraft.quorum.driver import QuorumDriver
from kraft.quorum.stored import QuorumStore
from logstore.storage import LocalStorage, StorageError
from metadata.log import Outcome
from metadata.serde import MalformedError


class LoopbackLinks:
    """Every voter of the process is connected; messages arrive in the loop's next round."""

    def __init__(self, node_id, everybody):
        self._node_id = node_id
        self._everybody = everybody
        everybody[node_id] = self
        self.on_connected = self.on_disconnected = self.on_message = None

    def send(self, peer_id, message):
        peer = self._everybody.get(peer_id)
        if peer is None or peer.on_message is None:
            return False
        data = cbor2.dumps(message)
        asyncio.get_running_loop().call_soon(lambda: peer.on_message(self._node_id, cbor2.loads(data)))
        return True

    def connected(self):
        return set(self._everybody) - {self._node_id}

    def disconnect(self, peer_id):
        raise AssertionError("nobody misbehaves here")


class Machine:
    """A listener that keeps the records, and tells who waits when something has changed."""

    def __init__(self):
        self.records = []
        self.leadership = None
        self.changed = asyncio.Event()

    def on_committed(self, batch):
        self.records += batch.records
        self.changed.set()

    def on_snapshot(self, snapshot, next_offset):
        self.records = cbor2.loads(snapshot)
        self.changed.set()

    def on_leadership(self, leadership):
        self.leadership = leadership
        self.changed.set()

    def take_snapshot(self):
        return cbor2.dumps(self.records)

    async def until(self, holds):
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


class Voter:
    """One node: ticks when the driver asks for it."""

    def __init__(self, directory, node_id, voters, everybody, **settings):
        loop = asyncio.get_running_loop()
        self.machine = Machine()
        self.disk = ThreadDiskWorker()
        config = QuorumConfig(node_id=node_id, voters=voters, **settings)
        self.store = QuorumStore.open(
            LocalStorage(), f"{directory}/{node_id}", max_entry_bytes=config.max_entry_bytes, now_ms=0
        )
        links = LoopbackLinks(node_id, everybody)
        self.driver = QuorumDriver(
            config, self.store, self.machine, links, self.disk, loop.time, random.Random()
        )
        self.driver.on_reschedule = self._arm
        self.failures = []
        self.driver.on_failure = self.failures.append
        self._timer = None

    def _arm(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.driver.next_deadline < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self.driver.next_deadline, loop.time()), self.driver.tick)

    async def propose(self, records):
        outcome = asyncio.get_running_loop().create_future()
        driver = self.driver
        driver.propose(driver.leadership.term, driver.next_offset, records, outcome.set_result)
        return await outcome

    async def close(self):
        self.driver.stop()
        self._arm()
        await asyncio.to_thread(self.disk.close)
        self.store.close()


@contextlib.asynccontextmanager
async def quorum(directory, size, **settings):
    everybody = {}
    voters = tuple(range(1, size + 1))
    nodes = [Voter(directory, node_id, voters, everybody, **settings) for node_id in voters]
    for node in nodes:
        node.driver.start()
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.close()


async def leader_of(nodes):
    await nodes[0].machine.until(lambda: nodes[0].driver.leadership.leader_id is not None)
    leader = nodes[nodes[0].driver.leadership.leader_id - 1]
    await leader.machine.until(lambda: leader.driver.leadership.leader_id == leader.driver.node_id)
    return leader


@pytest.mark.parametrize("size", [1, 3])
async def test_records_are_committed_everywhere_and_found_again(tmp_path, size):
    expected = [b"%d" % number for number in range(30)]
    async with quorum(tmp_path, size, snapshot_interval_records=8) as nodes:
        leader = await leader_of(nodes)
        for record in expected:
            assert await leader.propose([record]) is Outcome.COMMITTED
        for node in nodes:
            await node.machine.until(lambda n=node: n.machine.records == expected)
    async with quorum(tmp_path, size) as nodes:
        leader = await leader_of(nodes)
        assert leader.machine.records == expected
        assert await leader.propose([b"more"]) is Outcome.COMMITTED


async def test_a_status_shows_every_voter(tmp_path):
    async with quorum(tmp_path, 3) as nodes:
        leader = await leader_of(nodes)
        await leader.propose([b"a", b"b"])
        await leader.machine.until(lambda: leader.driver.next_offset == 2)
        status = leader.driver.status()
        assert (status.leader_id, status.next_offset) == (leader.driver.node_id, 2)
        assert [voter.node_id for voter in status.voters] == [1, 2, 3]
        assert sum(voter.log_end_offset >= status.high_watermark for voter in status.voters) >= 2
        follower = next(node for node in nodes if node is not leader)
        assert [voter.node_id for voter in follower.driver.status().voters] == [follower.driver.node_id]


async def test_proposals_of_a_driver_that_stops_are_unknown(tmp_path):
    async with quorum(tmp_path, 3) as nodes:
        leader = await leader_of(nodes)
        outcome = asyncio.ensure_future(leader.propose([b"a"]))
        await asyncio.sleep(0)
        leader.driver.tick()
        leader.driver.stop()
        assert await outcome is Outcome.UNKNOWN


class FailingDisk:
    """A disk worker whose work always fails, after a moment."""

    def run(self, work, done):
        asyncio.get_running_loop().call_soon(done, StorageError("journal", "Input/output error"))

    def close(self):
        pass


async def test_a_failing_disk_ends_the_driver(tmp_path):
    async with quorum(tmp_path, 1) as (node,):
        await leader_of([node])
        node.driver._disk = FailingDisk()
        assert await node.propose([b"a"]) is Outcome.UNKNOWN
        assert [failure.reason for failure in node.failures] == ["Input/output error"]
        assert node.driver.next_deadline == math.inf


@pytest.mark.parametrize("failure", [MalformedError("what?"), StorageError("snapshot", "gone"), KeyError()])
async def test_an_event_that_is_left_half_done_ends_the_driver(tmp_path, failure):
    def refuse(batch):
        raise failure

    async with quorum(tmp_path, 3) as nodes:
        leader = await leader_of(nodes)
        leader.machine.on_committed = refuse
        async with asyncio.timeout(20):
            assert await leader.propose([b"a"]) is Outcome.UNKNOWN
        assert leader.failures == [failure]
        assert leader.driver.next_deadline == math.inf


async def test_work_on_a_disk_thread_keeps_its_order_and_reports_failures():
    disk, done = ThreadDiskWorker(), asyncio.Event()
    seen = []

    def fail():
        raise StorageError("file", "full")

    disk.run(lambda: seen.append("work 1"), lambda error: seen.append(error))
    disk.run(fail, lambda error: seen.append(error.reason))
    disk.run(lambda: seen.append("work 2"), lambda error: done.set())
    async with asyncio.timeout(10):
        await done.wait()
    assert [entry for entry in seen if entry in ("work 1", "work 2")] == ["work 1", "work 2"]
    assert [entry for entry in seen if entry in (None, "full")] == [None, "full"]
    await asyncio.to_thread(disk.close)


async def test_a_mistake_on_a_disk_thread_ends_the_driver(tmp_path):
    def stumble(changes):
        raise KeyError(len(changes))

    async with quorum(tmp_path, 1) as (node,):
        await leader_of([node])
        node.store.apply = stumble
        async with asyncio.timeout(20):
            assert await node.propose([b"a"]) is Outcome.UNKNOWN
        assert [type(failure) for failure in node.failures] == [KeyError]


def test_pysyncobj_tells_the_real_time_while_no_driver_is_inside():
    before = syncobj.monotonicTime()
    ambient.enter(1.5, random.Random(1))
    try:
        assert syncobj.monotonicTime() == 1.5
        assert syncobj.random.random() == random.Random(1).random()
    finally:
        ambient.leave()
    assert syncobj.monotonicTime() >= before > 1.5
    assert 0 <= syncobj.random.random() < 1
    assert type(syncobj.createJournal()).__module__ == "pysyncobj.journal"
