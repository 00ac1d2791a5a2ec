"""A single Apache Kafka node on loopback, from the jars of Maven Central: what ours is compared with.

`python -m interop.apache_kafka` runs one by hand until Ctrl-C. It needs Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from interop.targets import SETTINGS, Target, Unavailable
from kraft.processes import StartError, die_with_parent, reserve_port

POM = Path(__file__).parent / "shared" / "apache-kafka.xml"
CACHE = Path(__file__).parent.parent / ".interop"

_HOST = "127.0.0.1"
_HEAP = "-Xmx1g"
_STAMP = ".complete"
_SERVES = b"Kafka Server started"
_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_DOWNLOAD_SECONDS = 1200.0
_TAIL = 4096


@contextlib.asynccontextmanager
async def running(cache: Path, directory: Path) -> AsyncIterator[Target]:
    """One KRaft node with its files in `directory`, stopped afterwards; jars are kept in `cache`.

    Raises Unavailable without Java or Maven, or when the jars can not be had; StartError when it does not
    begin to serve.
    """
    jars = await asyncio.to_thread(download, cache)
    port = reserve_port(_HOST)
    properties = _prepare(directory, port)
    await _format(jars, properties, directory)
    async with _server(jars, properties, directory / "server.log"):
        yield Target(f"Apache Kafka {version(jars)}", f"{_HOST}:{port}", 1)


def download(cache: Path) -> Path:
    """The folder with all jars, fetched by Maven unless they are there. Raises Unavailable."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Unavailable(f"Apache Kafka: {program} is not installed")
    jars = cache / "apache-kafka" / "jars"
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    stamp = jars / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return jars
    if jars.exists():
        shutil.rmtree(jars)
    command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-Djars={jars}"]
    try:
        done = subprocess.run(
            command,
            env={"MAVEN_OPTS": "-Xmx512m", **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("Apache Kafka: Maven took too long to fetch the jars") from None
    if done.returncode != 0:
        raise Unavailable(f"Apache Kafka: Maven could not fetch the jars: {done.stdout[-_TAIL:].strip()}")
    stamp.write_text(wanted)
    return jars


def version(jars: Path) -> str:
    """Apache Kafka's version, read from a jar's name."""
    (server,) = jars.glob("kafka_2.13-*.jar")
    return server.stem.removeprefix("kafka_2.13-")


def java(jars: Path, main: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command line that runs a class of Apache Kafka's."""
    return ["java", *options, "-cp", f"{jars}/*", main, *arguments]


def _prepare(directory: Path, port: int) -> Path:
    """Make the directory; the node's properties in it."""
    directory.mkdir(parents=True, exist_ok=True)
    properties = directory / "server.properties"
    properties.write_text(_properties(directory / "data", port, reserve_port(_HOST)), encoding="utf-8")
    return properties


def _properties(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{_HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{_HOST}:{port},CONTROLLER://{_HOST}:{controller_port}",
        "log.dirs": str(data),
        # A single node can not hold the three replicas that these have by default.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        **SETTINGS,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


async def _format(jars: Path, properties: Path, directory: Path) -> None:
    """Make the data directory what a first start needs. Raises StartError."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["format", f"--cluster-id={cluster_id}", "--config", str(properties)]
    process = await asyncio.create_subprocess_exec(
        *java(jars, "kafka.tools.StorageTool", *tool, options=["-Xmx256m"]),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise StartError(f"Apache Kafka could not format its storage: {_end(said)}")


@contextlib.asynccontextmanager
async def _server(jars: Path, properties: Path, log: Path) -> AsyncIterator[None]:
    """The node's process, from when it serves to when it has ended."""
    parent = os.getpid()
    process = await asyncio.create_subprocess_exec(
        *java(jars, "kafka.Kafka", str(properties), options=["-Xms256m", _HEAP]),
        cwd=log.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(parent),
    )
    assert process.stdout is not None
    serves = asyncio.Event()
    keeping = asyncio.create_task(_keep(process.stdout, _Log(log), serves))
    started = asyncio.create_task(serves.wait())
    try:
        await asyncio.wait((started, keeping), timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not serves.is_set():
            raise StartError(f"Apache Kafka did not start: {_tail_of(log)}")
        yield
    finally:
        started.cancel()
        await _stop(process)
        await keeping


class _Log:
    """The file that the node's output is kept in."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - `close` closes it

    def write(self, line: bytes) -> None:
        self._file.write(line)

    def close(self) -> None:
        self._file.close()


async def _keep(output: asyncio.StreamReader, log: _Log, serves: asyncio.Event) -> None:
    """Write what the node says to its log, and notice when it says that it serves."""
    with contextlib.closing(log):
        async for line in output:
            log.write(line)
            if _SERVES in line:
                serves.set()


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _tail_of(log: Path) -> str:
    return _end(log.read_bytes())


def _end(said: bytes) -> str:
    return said[-_TAIL:].decode(errors="replace").strip() or "it said nothing"


async def _by_hand(directory: Path) -> None:
    stopped = asyncio.Event()
    async with running(CACHE, directory) as target:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        print(f"{target.title} serves {target.bootstrap}; its files are in {directory}", flush=True)
        await stopped.wait()


def main() -> None:
    """Run one node until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m interop.apache_kafka", description=main.__doc__)
    parser.add_argument("--directory", type=Path, help="keep its files here instead of in a temporary one")
    directory = parser.parse_args().directory
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apache-kafka-")))
        asyncio.run(_by_hand(directory.absolute()))


if __name__ == "__main__":
    main()
