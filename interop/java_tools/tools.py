"""Running Apache Kafka's console tools, and reading what they say."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop.shared.telling import PATIENCE, Deadline, Unexpected
from kafkawire.errors import ErrorCode

_JARS = Path("jars")
_JAVA = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
_CLASSES = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "dump-log": "kafka.tools.DumpLogSegments",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
}
_EXCEPTION = re.compile(r"org\.apache\.kafka\.common\.errors\.(\w+)Exception")
_CODES = {
    "ElectionNotNeeded": ErrorCode.ELECTION_NOT_NEEDED,
    "GroupIdNotFound": ErrorCode.GROUP_ID_NOT_FOUND,
    "GroupNotEmpty": ErrorCode.NON_EMPTY_GROUP,
    "InvalidConfiguration": ErrorCode.INVALID_CONFIG,
    "InvalidPartitions": ErrorCode.INVALID_PARTITIONS,
    "InvalidReplicationFactor": ErrorCode.INVALID_REPLICATION_FACTOR,
    "InvalidTopic": ErrorCode.INVALID_TOPIC_EXCEPTION,
    "ResourceNotFound": ErrorCode.RESOURCE_NOT_FOUND,
    "SecurityDisabled": ErrorCode.SECURITY_DISABLED,
    "TopicExists": ErrorCode.TOPIC_ALREADY_EXISTS,
    "TransactionalIdNotFound": ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
    "UnknownTopicOrPartition": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    "UnsupportedVersion": ErrorCode.UNSUPPORTED_VERSION,
}
_SAYINGS = {
    # Words of the tools' own for what the broker, or its silence about a topic, tells them.
    "for configuration retention.ms: Not a number": ErrorCode.INVALID_CONFIG,
    "does not exist as expected": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    "Valid replica already elected": ErrorCode.ELECTION_NOT_NEEDED,
    "failed because the ID could not be found": ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
    "The node does not support": ErrorCode.UNSUPPORTED_VERSION,
}


class ToolError(Exception):
    """A tool told of an error of Kafka's, `code`."""

    def __init__(self, code: ErrorCode, said: str) -> None:
        super().__init__(said.strip().splitlines()[0] if said.strip() else code.name)
        self.code = code


def code_of(error: BaseException) -> int | None:
    """For `telling.tell`."""
    return error.code if isinstance(error, ToolError) else None


def _judge(tool: str, status: int, said: str) -> None:
    """Raises ToolError or Unexpected unless the tool did what it was asked for; some fail with status 0."""
    for saying, code in _SAYINGS.items():
        if saying in said:
            raise ToolError(code, next(line for line in said.splitlines() if saying in line))
    found = {match[1] for match in _EXCEPTION.finditer(said)}
    if known := found & _CODES.keys():
        raise ToolError(_CODES[known.pop()], said)
    if tool == "console-consumer":
        found.discard("Timeout")  # that is how it tells that nothing more came in --timeout-ms
    if status != 0 or found:
        raise Unexpected(f"{tool} ended with {status}: {said.strip()[-300:]}")


@dataclass(slots=True)
class Running:
    """A tool that runs: the lines that it has printed so far."""

    tool: str
    process: subprocess.Popen[bytes]
    said: Path
    lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def read(self, seconds: float = 0.2) -> list[str]:
        """Wait so long for more lines; all of them."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if selector.select(seconds):
                *whole, self._rest = (self._rest + os.read(self.process.stdout.fileno(), 1 << 16)).split(
                    b"\n"
                )
                self.lines += [line.decode() for line in whole]
        return self.lines

    def finish(self, seconds: float = PATIENCE) -> str:
        """What it printed to the end. Raises ToolError or Unexpected when it failed, or took too long."""
        try:
            rest, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Unexpected(f"{self.tool} did not end within {seconds:g} s") from None
        printed = "".join(f"{line}\n" for line in self.lines) + (self._rest + rest).decode()
        _judge(self.tool, self.process.returncode, self.said.read_text(errors="replace") + printed)
        return printed

    def interrupt(self) -> None:
        """SIGTERM: a consumer leaves its group then."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Unexpected(f"{self.tool} did not end") from None

    def kill(self) -> None:
        """SIGKILL: a consumer has no time to leave its group."""
        self.process.kill()
        self.process.wait()


class Tools:
    """The tools, for one cluster."""

    def __init__(self, bootstrap: str, prefix: str, replication_factor: int, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.replication_factor = replication_factor
        self._folder = folder
        self._count = 0

    def name(self, of: str) -> str:
        """A name that is this run's own."""
        return f"{self.prefix}-{of}"

    def file(self, content: str) -> str:
        """The path of a file with this content."""
        self._count += 1
        path = self._folder / f"{self._count}.txt"
        path.write_text(content, encoding="utf-8")
        return str(path)

    def start(self, tool: str, *arguments: str, given: str = "", cluster: bool = True) -> Running:
        """Start a tool, with `given` on its standard input."""
        server = ["--bootstrap-server", self.bootstrap] if cluster else []
        if tool == "cluster":
            server, arguments = [*arguments, *server], ()  # it alone wants its subcommand first
        said = Path(self.file(""))
        with open(self.file(given), "rb") as standard_input, open(said, "wb") as complaints:
            process = subprocess.Popen(
                [*_JAVA, _QUIET, "-cp", f"{_JARS.absolute()}/*", _CLASSES[tool], *server, *arguments],
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        return Running(tool, process, said)

    def run(self, tool: str, *arguments: str, given: str = "", cluster: bool = True) -> str:
        """Run a tool to its end; what it printed. Raises ToolError or Unexpected."""
        return self.start(tool, *arguments, given=given, cluster=cluster).finish()

    def create_topic(self, of: str, partitions: int, *configs: str) -> str:
        """A topic of this run."""
        more = [word for config in configs for word in ("--config", config)]
        name = self.name(of)
        counts = ["--partitions", str(partitions), "--replication-factor", str(self.replication_factor)]
        self.run("topics", "--create", "--topic", name, *counts, *more)
        return name

    def produce(self, topic: str, lines: Sequence[str], *settings: str) -> None:
        """Send lines of key and value with a tab between them."""
        properties = _each("--reader-property", ["parse.key=true"]) + _each("--command-property", settings)
        given = "".join(f"{line}\n" for line in lines)
        self.run("console-producer", "--topic", topic, *properties, given=given)

    def consumer(self, topic: str, *arguments: str, settings: Sequence[str] = ()) -> Running:
        """Start a console consumer that prints partition, offset, key and value."""
        shown = ["print.partition=true", "print.offset=true", "print.key=true"]
        properties = _each("--formatter-property", shown) + _each("--command-property", settings)
        return self.start("console-consumer", "--topic", topic, *properties, *arguments)

    @contextlib.contextmanager
    def cleaned(self, *running: Running) -> Iterator[None]:
        """Whatever happens within, these are gone afterwards."""
        try:
            yield
        finally:
            for each in running:
                each.kill()

    def until(self, what: str, done: Sequence[Running], condition: object) -> None:
        """Read what these print until the condition, a function without arguments, is true."""
        assert callable(condition)
        deadline = Deadline()
        while not condition() and deadline.left(what):
            for each in done:
                each.read(0.1)


@contextlib.contextmanager
def tools_for(bootstrap: str, prefix: str, replication_factor: int) -> Iterator[Tools]:
    """The tools, with a folder for their files while they are used."""
    with tempfile.TemporaryDirectory(prefix="java-tools-") as folder:
        yield Tools(bootstrap, prefix, replication_factor, Path(folder))


def now_ms() -> int:
    """The wall clock."""
    return int(time.time() * 1000)


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]
