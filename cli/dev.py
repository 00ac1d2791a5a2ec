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
from logstore.checkpoints import META_PROPERTIES, MetaPropertiesError, read_meta_properties
from logstore.storage import LocalStorage, StorageError

DEVELOPMENT_SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
"""What differs from a cluster for production: a consumer that starts alone gets its partitions at once."""


PLACED = frozenset(
    {
        *("process.roles", "node.id", "controller.quorum.voters"),
        *("listeners", "node.listener", "log.dir", "log.dirs"),
    }
)
"""What every node is told by flags, which win: set for all of them, it would count for none."""


class DevOptions(msgspec.Struct, frozen=True):
    """The command line of `dev`. Port 0 takes free ports; without `data_dir` nothing is kept."""

    controllers: int
    brokers: int
    data_dir: Path | None
    port: int
    assignments: tuple[str, ...]


def run_dev(options: DevOptions) -> int:
    """Run the cluster until SIGINT, SIGTERM or SIGHUP; returns the exit status."""
    directory = options.data_dir or Path(tempfile.mkdtemp(prefix="kraft-dev-"))
    try:
        given = _given(options.assignments)
        plan = plan_cluster(options.controllers, options.brokers, directory.absolute(), options.port or None)
        settings = {**DEVELOPMENT_SETTINGS, **_kept_cluster(plan), **given}
        _check_ports(plan)
        plan.directory.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_supervise(LocalCluster(plan, settings), kept=options.data_dir is not None))
    except (ConfigError, ValueError) as error:
        return complain(str(error), MISUSE)
    except (StartError, StorageError, OSError) as error:
        return complain(str(error), FAILURE)
    finally:
        if options.data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)


def _given(assignments: tuple[str, ...]) -> dict[str, str]:
    """The settings for all nodes; raises ConfigError."""
    given = {key: setting.text for key, setting in from_assignments(assignments).items()}
    for key in sorted(PLACED & given.keys()):
        raise ConfigError(f"--set {key}: dev gives each node its own")
    return given


def _kept_cluster(plan: ClusterPlan) -> dict[str, str]:
    """The setting that has nodes join the cluster whose data is there: from this start's secret they would
    derive another id. Raises ConfigError if that cluster has other controllers, since a majority of new ones
    would know nothing of it; and for data that cannot be read."""
    found = {path.parent.name for path in plan.directory.glob(f"*/{META_PROPERTIES}")}
    voters = {name for name in found if name.startswith("controller")}
    if voters and voters != {node.name for node in plan.nodes if node.votes}:
        raise ConfigError(
            f"{plan.directory}: has data of {', '.join(sorted(voters))}, "
            "and the set of controllers is fixed at the start"
        )
    for name in sorted(voters):
        try:
            meta = read_meta_properties(LocalStorage(), str(plan.directory / name))
        except MetaPropertiesError as error:
            raise ConfigError(f"{plan.directory / name}/{META_PROPERTIES}: {error}") from None
        if meta is not None:
            return {"cluster.id": meta.cluster_id}
    return {}


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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
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
