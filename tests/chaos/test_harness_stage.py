"""What a trial waits for after each fault."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from chaos.harness.stage import NodeEndedError, Stage
from kraft.local_cluster import LocalCluster, plan_cluster
from kraft.processes import ManagedProcess

WAITING = """
import signal, sys
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready
die_with_parent(int(sys.argv[4]))
announce_ready(int(sys.argv[2]), NodeAddresses(1, ("127.0.0.1", 1)))
signal.pause()
"""


async def test_a_node_that_ended_by_itself_is_named_instead_of_being_waited_for(tmp_path: Path) -> None:
    nodes = LocalCluster(plan_cluster(3, 1, tmp_path))
    for node_id, process in nodes.processes.items():
        command = [sys.executable, "-c", WAITING]
        nodes.processes[node_id] = ManagedProcess(process.name, command, tmp_path / f"{node_id}.log")
        await nodes.processes[node_id].start()
    stage = Stage(nodes, *cast(Any, (None, None, None)))
    try:
        stage.check_that_all_run()
        await nodes.processes[102].kill()
        with pytest.raises(NodeEndedError, match="ended by itself: controller-102"):
            await stage.until_whole()
    finally:
        for process in nodes.processes.values():
            await process.kill()
