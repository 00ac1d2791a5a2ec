"""The documentation page of the configuration keys, rendered from their table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from metadata.config_ignored import IGNORED_KEY_GROUPS
from metadata.config_keys import (
    GROUP_KEYS,
    NODE_KEY_GROUPS,
    TOPIC_KEY_GROUPS,
    ConfigKey,
    Scope,
    Update,
    format_value,
)

_INTRODUCTION: Final = """\
# Configuration

This page is written by `python -m metadata.config_docs`; a test compares it with the table.

Names, types, defaults and meanings are Kafka's unless a key says "Ours" or tells Kafka's default.

A node reads its keys from flags (`--node-id 1`, `--set node.id=1`), from the environment
(`KRAFT_NODE_ID=1`) and from its file; where several name a key the first of these wins. An unknown key or a
bad value is an error that names it. Some of Kafka's keys [have no effect here](#accepted-without-effect) and
are accepted, so that a file of Kafka's can be used; a node that is given some says so when it starts.
Keys that change "at start" are read when a node starts. "Cluster-wide" ones can be changed while brokers run
(`kafka-configs --entity-type brokers`).

Topic keys are set when a topic is created or later; where a topic has no value of its own, the node key
beside it counts. Groups have keys as well, which can be set before the group is there
(`kafka-configs --entity-type groups`).
"""

_ROLES: Final = {Scope.NODE: "both", Scope.BROKER: "broker", Scope.CONTROLLER: "controller"}
_UPDATES: Final = {
    Update.READ_ONLY: "at start",
    Update.PER_BROKER: "per broker",
    Update.CLUSTER_WIDE: "cluster-wide",
    Update.PER_TOPIC: "per topic",
    Update.PER_GROUP: "per group",
}


def render() -> str:
    """The whole page as Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Topics"
    for heading, keys in TOPIC_KEY_GROUPS:
        yield from ("", f"### {heading}", "")
        yield from _table(("Key", "Type", "Default", "Valid", "Node keys", "Meaning"), map(_topic_row, keys))
    yield from ("", "## Groups", "")
    yield from _table(
        ("Key", "Type", "Default", "Valid", "Node keys", "Meaning"), map(_topic_row, GROUP_KEYS.values())
    )
    yield from ("", "## Nodes")
    for heading, keys in NODE_KEY_GROUPS:
        yield from ("", f"### {heading}", "")
        yield from _table(
            ("Key", "Type", "Default", "Valid", "Role", "Changed", "Meaning"), map(_node_row, keys)
        )
    yield from ("", "### Accepted without effect", "")
    yield from _table(("Keys", "What they are for"), map(_ignored_row, IGNORED_KEY_GROUPS))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _line(titles)
    yield _line(("---",) * len(titles))
    for row in rows:
        yield _line(row)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _topic_row(key: ConfigKey) -> tuple[str, ...]:
    behind = ", ".join(f"`{synonym.name}`" for synonym in key.synonyms)
    return (*_common(key), behind, key.doc)


def _node_row(key: ConfigKey) -> tuple[str, ...]:
    return (*_common(key), _ROLES[key.scope], _UPDATES[key.update], key.doc)


def _ignored_row(group: tuple[str, tuple[str, ...]]) -> tuple[str, ...]:
    meaning, names = group
    return ", ".join(f"`{name}`" for name in names), meaning


def _common(key: ConfigKey) -> tuple[str, ...]:
    default = format_value(key.default)
    shown = "" if default is None else f"`{default}`" if default else "empty"
    return f"`{key.name}`", key.type.name.lower(), shown, str(key.limits)


if __name__ == "__main__":
    print(render(), end="")
