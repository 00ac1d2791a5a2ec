"""The command line: `kraft-node` and `kraft` are this one Typer app.

Commands import what they run only when they run it, so that `--help` and a node's start stay quick.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.options import BootstrapServer, TopicName

app = typer.Typer(
    name="kraft-node",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
topics_app = typer.Typer(help="Create, list, describe and delete topics.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("kraft-node"))
        raise typer.Exit


@app.callback()
def about(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it and exit")
    ] = False,
) -> None:
    """A Kafka-compatible cluster in Python."""


class LogStyle(StrEnum):
    """How a node logs."""

    HUMAN = "human"
    JSON = "json"


@app.command()
def run(
    role: Annotated[
        str | None, typer.Option(help="broker, controller or broker,controller, which is the default")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A file with Kafka's keys: server.properties, or TOML as *.toml")
    ] = None,
    node_id: Annotated[int | None, typer.Option(help="This node's number in its cluster; needed")] = None,
    listeners: Annotated[
        str | None,
        typer.Option(help="Where clients connect: NAME://host:port,…; PLAINTEXT://:9092 if not given"),
    ] = None,
    advertised_listeners: Annotated[
        str | None, typer.Option(help="What clients are told instead: NAME://host:port,…")
    ] = None,
    controller_quorum_voters: Annotated[
        str | None, typer.Option(help="All controllers: id@host:port,… of their node listeners")
    ] = None,
    node_listener: Annotated[
        str | None,
        typer.Option(
            help="Where other nodes connect: host:port; a controller's port among the voters, else :9093"
        ),
    ] = None,
    log_dirs: Annotated[
        str | None, typer.Option(help="Data directories with commas; /tmp/kafka-logs if not given")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key; can be repeated")
    ] = None,
    log_format: Annotated[
        LogStyle, typer.Option(help="How events are written to stderr, one a line: for people or programs")
    ] = LogStyle.HUMAN,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent_pid: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run one node until SIGTERM or Ctrl-C: both are a controlled shutdown.

    Flags win over the environment (KRAFT_NODE_ID=1 is node.id=1), which wins over the file.
    """
    from cli.run import KEYS, RunOptions, run_node

    given = {
        "--role": role,
        "--node-id": None if node_id is None else str(node_id),
        "--listeners": listeners,
        "--advertised-listeners": advertised_listeners,
        "--controller-quorum-voters": controller_quorum_voters,
        "--node-listener": node_listener,
        "--log-dirs": log_dirs,
    }
    flags = {key: (flag, given[flag]) for flag, key in KEYS.items()}
    options = RunOptions(config, flags, tuple(set_ or ()), log_format.value, ready_fd, parent_pid)
    raise typer.Exit(run_node(options))


@app.command()
def dev(
    controllers: Annotated[int, typer.Option(help="How many controllers")] = 1,
    brokers: Annotated[int, typer.Option(help="How many brokers")] = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data and logs stay; without it they go when it ends")
    ] = None,
    port: Annotated[
        int, typer.Option(help="The first broker's port, others follow; 0 takes free ones")
    ] = 9092,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key for all nodes; can be repeated"),
    ] = None,
) -> None:
    """Run a whole cluster on this machine until Ctrl-C, each node a process of its own.

    One controller and one broker are a single node with both roles.
    """
    from cli.dev import DevOptions, run_dev

    raise typer.Exit(run_dev(DevOptions(controllers, brokers, data_dir, port, tuple(set_ or ()))))


@topics_app.command("create")
def create_topic(
    name: TopicName,
    partitions: Annotated[int, typer.Option(min=-1, max=0x7FFFFFFF, help="-1 is the cluster's default")] = -1,
    replication_factor: Annotated[
        int, typer.Option(min=-1, max=0x7FFF, help="-1 is the cluster's default")
    ] = -1,
    config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A key of the topic; can be repeated")
    ] = None,
    bootstrap_server: BootstrapServer = "localhost:9092",
) -> None:
    """Create a topic."""
    from cli.topics import create

    raise typer.Exit(create(bootstrap_server, name, partitions, replication_factor, tuple(config or ())))


@topics_app.command("list")
def list_topics(
    bootstrap_server: BootstrapServer = "localhost:9092",
    internal: Annotated[bool, typer.Option(help="Internal topics too")] = False,
) -> None:
    """List the names of all topics."""
    from cli.topics import list_names

    raise typer.Exit(list_names(bootstrap_server, internal=internal))


@topics_app.command("describe")
def describe_topic(name: TopicName, bootstrap_server: BootstrapServer = "localhost:9092") -> None:
    """Show a topic's own configuration, and its partitions: leader, epoch, replicas and who is in sync."""
    from cli.topics import describe

    raise typer.Exit(describe(bootstrap_server, name))


@topics_app.command("delete")
def delete_topic(name: TopicName, bootstrap_server: BootstrapServer = "localhost:9092") -> None:
    """Delete a topic and everything in it."""
    from cli.topics import delete

    raise typer.Exit(delete(bootstrap_server, name))


@app.command()
def cluster(bootstrap_server: BootstrapServer = "localhost:9092") -> None:
    """Show brokers, controllers and partitions that are not fully replicated."""
    from cli.cluster import show

    raise typer.Exit(show(bootstrap_server))
