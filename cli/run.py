"""`kraft-node run`: gather the configuration from its three sources and run one node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cli.node_import import import_node
from kraft.complaints import MISUSE, complain
from kraft.config import ConfigError, NodeConfig, ProcessConfig, Setting, build_config
from kraft.config_sources import from_assignments, from_environment, read_file
from kraft.events import LogFormat
from kraft.formatting import FormatError
from kraft.processes import die_with_parent

KEYS: Final = {
    "--role": "process.roles",
    "--node-id": "node.id",
    "--listeners": "listeners",
    "--advertised-listeners": "advertised.listeners",
    "--controller-quorum-voters": "controller.quorum.voters",
    "--node-listener": "node.listener",
    "--log-dirs": "log.dirs",
}
"""The flags that stand for a key of the configuration."""


class RunOptions(msgspec.Struct, frozen=True):
    """The command line of `run`. `flags` maps a key to the flag that stands for it and what it was given."""

    config: Path | None
    flags: Mapping[str, tuple[str, str | None]]
    assignments: tuple[str, ...]
    log_format: str
    ready_fd: int | None
    parent_pid: int | None


def gather_config(options: RunOptions, environment: Mapping[str, str]) -> NodeConfig:
    """The node's configuration: file < environment < `--set` < named flags. Raises ConfigError."""
    given: dict[str, Setting] = {}
    if options.config is not None:
        given |= read_file(str(options.config))
    given |= from_environment(environment)
    given |= from_assignments(options.assignments)
    given |= {key: Setting(text, flag) for key, (flag, text) in options.flags.items() if text is not None}
    return build_config(given, ProcessConfig(LogFormat(options.log_format), options.ready_fd))


def run_node(options: RunOptions) -> int:
    """Run the node; returns the exit status of the process."""
    if options.parent_pid is not None:
        die_with_parent(options.parent_pid)
    try:
        config = gather_config(options, os.environ)
    except ConfigError as error:
        return complain(str(error), MISUSE)
    main = import_node()
    try:
        return main(config)
    except FormatError as error:
        return complain(str(error))
