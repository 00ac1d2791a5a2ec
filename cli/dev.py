"""`kraft-node dev`: a whole cluster on loopback, each node a process, gone at Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

import msgspec

from kraft.complaints import FAILURE, MISUSE, complain
from kraft.config import ConfigError
from kraft.config_sources import from_assignments
from kraft.local_cluster import HOST, ClusterPlan, LocalCluster, plan_cluster
from kraft.processes import ManagedProcess, StartError

DEVELOPMENT_SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
"""What differs from a cluster for production: a consumer that starts alone gets its partitions at once."""


class DevOptions(msgspec.Struct, frozen=True):
    """The command line of `dev`. Port 0 takes free ports; without `data_dir` nothing is kept."""

    controllers: int
    brokers: int
    data_dir: Path | None
    port: int
    assignments: tuple[str, ...]


def run_dev(options: DevOptions) -> int:
    """Run the cluster until SIGINT or SIGTERM; returns the exit status."""
    directory = options.data_dir or Path(tempfile.mkdtemp(prefix="kraft-dev-"))
    try:
        given = {key: setting.text for key, setting in from_assignments(options.assignments).items()}
        settings = {**DEVELOPMENT_SETTINGS, **given}
        plan = plan_cluster(options.controllers, options.brokers, directory.absolute(), options.port or None)
        _check_ports(plan)
        plan.directory.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_supervise(LocalCluster(plan, settings), kept=options.data_dir is not None))
    except (ConfigError, ValueError) as error:
        return complain(str(error), MISUSE)
    except (StartError, OSError) as error:
        return complain(str(error), FAILURE)
    finally:
        if options.data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)


def _check_ports(plan: ClusterPlan) -> None:
    """Raises StartError for a port that somebody else listens on, before anything is started."""
    for node in plan.nodes:
        if node.kafka_port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, node.kafka_port))
            except OverflowError:
                raise ValueError(f"port {node.kafka_port} is out of range") from None
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise StartError(f"port {node.kafka_port}: {reason}; --port chooses another one") from None


async def _supervise(cluster: LocalCluster, *, kept: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with cluster:
        starting = asyncio.create_task(_start(cluster, kept=kept))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return 0
        stopping.cancel()
        starting.result()
        watchers = [asyncio.create_task(_report_end(each, stop)) for each in cluster.processes.values()]
        await stop.wait()
        print("stopping …", flush=True)
        await cluster.stop()
        await asyncio.gather(*watchers)
    return 0


async def _start(cluster: LocalCluster, *, kept: bool) -> None:
    before = time.monotonic()
    await cluster.start()
    took = time.monotonic() - before
    for node in cluster.plan.nodes:
        process = cluster.processes[node.node_id]
        kafka = "" if node.kafka_port is None else f"  kafka {HOST}:{node.kafka_port}"
        print(f"  {node.name}  pid {process.pid}  http {HOST}:{node.node_port}{kafka}")
    count = len(cluster.plan.nodes)
    print(f"{count} node{'s' if count > 1 else ''} ready in {took:.1f} s")
    print(f"data in {cluster.plan.directory}, {'kept' if kept else 'removed at the end'}")
    print(f"bootstrap: {cluster.plan.bootstrap}   (Ctrl-C stops)", flush=True)


async def _report_end(process: ManagedProcess, stop: asyncio.Event) -> None:
    """Say so if a node ends before it is told to."""
    status = await process.wait()
    if not stop.is_set():
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        print(f"{process.name} ended ({how}); its log: {process.log_path}", flush=True)
