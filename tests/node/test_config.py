"""A node's configuration: sources and their rank, values, and mistakes as one line."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from kraft.config import (
    Address,
    ConfigError,
    Listener,
    NodeConfig,
    Role,
    Voter,
    build_config,
)
from kraft.config_sources import (
    Setting,
    from_assignments,
    from_environment,
    parse_properties,
    parse_toml,
    read_file,
)
from kraft.node import quorum_config
from metadata.config_ignored import IGNORED_KEYS
from metadata.config_keys import BROKER_KEYS, TOPIC_KEYS

SECRET = "0123456789abcdef0123"
VOTERS = "101@10.0.0.1:9093,102@10.0.0.2:9093,103@[fd00::3]:9093"


def configured(**values: str) -> NodeConfig:
    """A configuration from `node_id="1"` style keywords."""
    return build_config({key.replace("_", "."): Setting(value, "test") for key, value in values.items()})


def mistake(values: Mapping[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config({"node.id": Setting("1", "test"), **{k: Setting(v, "here") for k, v in values.items()}})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_keys_that_mean_nothing_are_accepted_and_told_of() -> None:
    config = build_config({name: Setting("1", "f") for name in (*IGNORED_KEYS, "node.id")})
    assert config.ignored == tuple(sorted(IGNORED_KEYS))
    assert not IGNORED_KEYS & (BROKER_KEYS.keys() | TOPIC_KEYS.keys())
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    told = page.split("### Accepted without effect")[1]
    assert [name for name in sorted(IGNORED_KEYS) if f"`{name}`" not in told] == []


def test_a_node_that_is_told_nothing_but_its_id_is_a_whole_cluster() -> None:
    config = configured(node_id="7")
    host = socket.gethostname()
    assert config.roles == {Role.BROKER, Role.CONTROLLER}
    assert config.cluster.voters == (Voter(7, Address(host, 9093)),)
    assert config.network.listeners == (Listener("PLAINTEXT", Address("", 9092)),)
    assert config.network.advertised_listeners == (Listener("PLAINTEXT", Address(host, 9092)),)
    assert config.log_dirs == ("/tmp/kafka-logs",)
    assert config.metadata_dir == "/tmp/kafka-logs"
    assert config.settings["num.partitions"] == 1
    assert config.static == {"node.id": "7"}
    assert len(config.cluster.secret.reveal()) == 64
    assert config.cluster.secret != configured(node_id="7").cluster.secret


def test_the_quorum_obeys_its_keys() -> None:
    config = quorum_config(
        configured(
            node_id="7",
            controller_quorum_election_timeout_ms="1000",
            controller_quorum_fetch_timeout_ms="200",
            metadata_log_max_record_bytes_between_snapshots="5000",
        )
    )
    assert (config.node_id, config.voters) == (7, (7,))
    assert (config.election_timeout_min, config.election_timeout_max) == (1.0, 2.0)
    assert config.check_quorum_timeout == 0.2
    assert config.snapshot_interval_bytes == 5000


@pytest.mark.parametrize("unit", ["ms", "minutes", "hours"])
def test_a_node_does_not_drop_everything_at_once(unit: str) -> None:
    for refused in ("0", "-2"):
        assert f"log.retention.{unit}: Value must be" in mistake({f"log.retention.{unit}": refused})
    for accepted in ("-1", "1"):
        config = configured(node_id="1", **{f"log_retention_{unit}": accepted})
        assert config.settings[f"log.retention.{unit}"] == int(accepted)


def test_a_broker_of_a_cluster() -> None:
    config = configured(
        node_id="1",
        process_roles="broker",
        controller_quorum_voters=VOTERS,
        cluster_secret=SECRET,
        listeners="plaintext://127.0.0.1:0, INTERNAL://:19092",
        listener_security_protocol_map="PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
        advertised_listeners="INTERNAL://broker-1:29092",
        node_listener="127.0.0.1:9100",
        log_dirs="/data/a/, /data/b",
        broker_rack="r1",
        log_retention_hours="3",
    )
    assert config.is_broker
    assert not config.is_controller
    assert config.cluster.voters[2] == Voter(103, Address("fd00::3", 9093))
    assert config.network.advertised_listeners == (
        Listener("PLAINTEXT", Address("127.0.0.1", 0)),
        Listener("INTERNAL", Address("broker-1", 29092)),
    )
    assert config.network.advertised_node_listener == Address("127.0.0.1", 9100)
    assert (config.log_dirs, config.rack) == (("/data/a", "/data/b"), "r1")
    assert config.settings["log.retention.hours"] == 3
    assert config.static["log.retention.hours"] == "3"


def test_a_controller_listens_where_the_voters_say() -> None:
    config = configured(
        node_id="102", process_roles="controller", controller_quorum_voters=VOTERS, cluster_secret=SECRET
    )
    assert config.network.node_listener == Address("", 9093)
    assert config.network.advertised_node_listener == Address("10.0.0.2", 9093)
    assert config.network.listeners == ()


@pytest.mark.parametrize(
    ("quorum", "beside"),
    [
        ("controller.quorum.voters=1@localhost:9093", {"cluster.secret": SECRET}),
        ("controller.quorum.bootstrap.servers=localhost:9093", {}),
    ],
    ids=["kafka-3", "kafka-4"],
)
def test_a_file_of_kafkas_own_is_understood(quorum: str, beside: Mapping[str, str]) -> None:
    text = f"""
        # The role of this server
        process.roles=broker,controller
        node.id=1
        {quorum}
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093
        inter.broker.listener.name=PLAINTEXT
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
        controller.listener.names=CONTROLLER
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
        num.network.threads=3
        num.io.threads=8
        socket.send.buffer.bytes=102400
        socket.receive.buffer.bytes=102400
        socket.request.max.bytes=104857600
        log.dirs=/tmp/kraft-combined-logs
        num.partitions=1
        num.recovery.threads.per.data.dir=1
        offsets.topic.replication.factor=1
        share.coordinator.state.topic.replication.factor=1
        share.coordinator.state.topic.min.isr=1
        transaction.state.log.replication.factor=1
        transaction.state.log.min.isr=1
        log.retention.hours=168
        log.segment.bytes=1073741824
        log.retention.check.interval.ms=300000
    """
    given = {key: Setting(value, "f") for key, value in parse_properties(text, "f").items()}
    given |= {key: Setting(value, "env") for key, value in beside.items()}
    config = build_config(given)
    assert config.cluster.voters == (Voter(1, Address("localhost", 9093)),)
    assert config.network.listeners == (Listener("PLAINTEXT", Address("", 9092)),)
    assert config.network.node_listener == Address("", 9093)
    assert config.network.advertised_node_listener == Address("localhost", 9093)
    assert config.ignored == (
        "share.coordinator.state.topic.min.isr",
        "share.coordinator.state.topic.replication.factor",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"controller.quorum.bootstrap.servers": "a:1,b:1"},
            "controller.quorum.voters: is needed: controller.quorum.bootstrap.servers does not tell the ids "
            "of several controllers",
        ),
        ({"log.dirz": "/a"}, "log.dirz: is not a configuration key (here)"),
        ({"node.id": "-1"}, "node.id=-1: must be a number from 0 to 2147483647 (here)"),
        ({"node.id": "one"}, "node.id=one: must be a number from 0 to 2147483647 (here)"),
        (
            {"process.roles": "boss"},
            "process.roles=boss: boss is no role; there are broker and controller (here)",
        ),
        ({"process.roles": ","}, "process.roles=,: at least one of broker and controller (here)"),
        ({"listeners": "9092"}, "listeners=9092: 9092 is not NAME://host:port (here)"),
        ({"listeners": "PLAINTEXT://:70000"}, "listeners=PLAINTEXT://:70000: :70000 is not host:port (here)"),
        ({"node.listener": "a..b:1"}, "node.listener=a..b:1: a..b:1 is not host:port (here)"),
        (
            {"node.listener": f"{'a' * 64}:1"},
            f"node.listener={'a' * 64}:1: {'a' * 64}:1 is not host:port (here)",
        ),
        ({"broker.rack": "\udcff"}, "broker.rack: is not Unicode text (here)"),
        ({"cluster.secret": "\udcff" * 20}, "cluster.secret: is not Unicode text (here)"),
        (
            {"node.listener": "127.0.0.1:0"},
            "node.listener: a controller has to be found, so its port cannot be 0",
        ),
        ({"listeners": "A://:1,A://:2"}, "listeners=A://:1,A://:2: a listener name stands twice (here)"),
        ({"listeners": "SSL://:9092"}, "listeners: SSL wants SSL, only PLAINTEXT is served"),
        ({"advertised.listeners": "X://a:1"}, "advertised.listeners: X is not one of listeners"),
        (
            {"advertised.listeners": "PLAINTEXT://0.0.0.0:1"},
            "advertised.listeners: PLAINTEXT names no host that a client could reach",
        ),
        (
            {"listeners": "CONTROLLER://:9093", "controller.listener.names": "CONTROLLER"},
            "listeners: all are in controller.listener.names, and a broker needs one for its clients",
        ),
        (
            {"controller.listener.names": "plaintext"},
            "listeners: all are in controller.listener.names, and a broker needs one for its clients",
        ),
        ({"inter.broker.listener.name": "X"}, "inter.broker.listener.name=X: is not one of listeners"),
        (
            {"controller.quorum.voters": "1"},
            "controller.quorum.voters=1: 1 is not id@host:port (here)",
        ),
        (
            {"controller.quorum.voters": "1@a:1,1@b:1"},
            "controller.quorum.voters=1@a:1,1@b:1: a node id stands twice (here)",
        ),
        (
            {"controller.quorum.voters": "1@:1"},
            "controller.quorum.voters=1@:1: 1@:1 names no host and port to connect to (here)",
        ),
        (
            {"controller.quorum.voters": "2@a:1", "cluster.secret": SECRET},
            "controller.quorum.voters: node 1 is a controller but not among them",
        ),
        (
            {"controller.quorum.voters": "1@a:1", "process.roles": "broker", "cluster.secret": SECRET},
            "controller.quorum.voters: node 1 is among them but is no controller",
        ),
        ({"process.roles": "broker"}, "controller.quorum.voters: is needed by a node that is no controller"),
        (
            {"controller.quorum.voters": "1@a:1"},
            "cluster.secret: is needed by a cluster of several nodes (or cluster.secret.file)",
        ),
        ({"cluster.secret": "hush"}, "cluster.secret=***: must have at least 16 characters (here)"),
        ({"cluster.secret.file": "/nowhere"}, "cluster.secret.file=/nowhere: No such file or directory"),
        ({"log.dirs": "/a,/a/"}, "log.dirs=/a,/a: a directory stands twice"),
        ({"metadata.log.dir": ""}, "metadata.log.dir=: must not be empty (here)"),
        (
            {"num.partitions": "0"},
            "Invalid value 0 for configuration num.partitions: Value must be at least 1 (here)",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(values: Mapping[str, str], message: str) -> None:
    assert mistake(values) == message


def test_a_node_needs_an_id() -> None:
    with pytest.raises(ConfigError, match=r"^node\.id: is needed"):
        build_config({})


def test_the_secret_is_never_shown() -> None:
    config = configured(node_id="1", cluster_secret=SECRET)
    assert config.cluster.secret.reveal() == SECRET.encode()
    assert SECRET not in repr(config)


def test_the_secret_can_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert configured(node_id="1", cluster_secret_file=str(file)).cluster.secret.reveal() == SECRET.encode()
    file.write_text("short")
    with pytest.raises(ConfigError, match="must have at least 16 characters"):
        configured(node_id="1", cluster_secret_file=str(file))


def test_the_environment_and_flags_spell_keys() -> None:
    environment = {
        "KRAFT_NODE_ID": "3",
        "KRAFT_LOG_DIRS": "/a",
        "KRAFT_BOOTSTRAP": "localhost:9092",
        "KRAFT_SERVICE_HOST": "10.0.0.1",
        "KRAFT_PORT_9092_TCP_ADDR": "10.0.0.1",
        "KAFKA_HEAP_OPTS": "-Xmx1G",
    }
    assert from_environment(environment) == {
        "node.id": Setting("3", "KRAFT_NODE_ID"),
        "log.dirs": Setting("/a", "KRAFT_LOG_DIRS"),
    }
    assert from_assignments(["a.b = c=d"]) == {"a.b": Setting("c=d", "--set")}
    with pytest.raises(ConfigError, match="--set a: not of the form key=value"):
        from_assignments(["a"])


def test_properties_notation() -> None:
    text = "a=1\n  b : 2 \nc 3\n! comment\n\n# comment\nd=x\\\n   y\ne\nf\\=g=\\u00e9\\t\\\\\nh=a=b\ni=last\\"
    assert parse_properties(text, "f") == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d": "xy",
        "e": "",
        "f=g": "é\t\\",
        "h": "a=b",
        "i": "last",
    }
    with pytest.raises(ConfigError, match=r"^f:2: "):
        parse_properties("a=1\nb=\\u12", "f")


def test_toml_spells_the_same_keys() -> None:
    text = 'node.id = 1\n"broker.rack" = "r"\n[log]\ndirs = ["/a", "/b"]\ncleaner.enable = false\n'
    assert parse_toml(text, "f") == {
        "node.id": "1",
        "broker.rack": "r",
        "log.dirs": "/a,/b",
        "log.cleaner.enable": "false",
    }
    with pytest.raises(ConfigError, match=r"^f: log.dirs is neither text"):
        parse_toml("log.dirs = [[1]]", "f")
    with pytest.raises(ConfigError, match=r"^f: "):
        parse_toml("=", "f")


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("node.id = 1")
    (tmp_path / "a.properties").write_text("node.id = 2")
    (tmp_path / "marked.properties").write_text("node.id = 3", encoding="utf-8-sig")
    (tmp_path / "marked.toml").write_text("node.id = 4", encoding="utf-8-sig")
    (tmp_path / "latin").write_bytes(b"a=\xff")
    (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"#")
    assert read_file(str(tmp_path / "a.toml"))["node.id"].text == "1"
    assert read_file(str(tmp_path / "a.properties"))["node.id"].text == "2"
    assert read_file(str(tmp_path / "marked.properties"))["node.id"].text == "3"
    assert read_file(str(tmp_path / "marked.toml"))["node.id"].text == "4"
    for name, message in [("latin", "not UTF-8"), ("large", "at most"), ("none", "No such file")]:
        with pytest.raises(ConfigError, match=message):
            read_file(str(tmp_path / name))
