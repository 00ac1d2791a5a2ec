"""Renders `docs/protocol.md`: which requests are answered in which versions.

`python -m kafkawire.apis_page > docs/protocol.md` writes the page; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from kafkawire.apis import APIS, Api

_INTRODUCTION = """\
# Kafka protocol

<!-- Written by `python -m kafkawire.apis_page`; do not edit. -->

The requests that a broker answers, and the versions that ApiVersions advertises. A request with another key
closes the connection, as does another version of any request but ApiVersions. *Flexible from* is the first
version with compact lengths and tagged fields (KIP-482). *Forwarded* requests are decided by the active
controller; the broker sends them on.

| Key | Request | Versions | Flexible from | Forwarded |
|---:|---|---|---:|---|
"""


def render(apis: Iterable[Api]) -> str:
    """The page as Markdown."""
    return _INTRODUCTION + "".join(map(_row, apis))


def _row(api: Api) -> str:
    versions = str(api.min_version)
    if api.max_version > api.min_version:
        versions += f" to {api.max_version}"
    if api.advertised_min != api.min_version:
        versions += f", advertised from {api.advertised_min}"
    flexible = "never" if api.flexible_from is None else str(api.flexible_from)
    return f"| {api.key} | {api.name} | {versions} | {flexible} | {'yes' if api.forwarded else ''} |\n"


if __name__ == "__main__":
    sys.stdout.write(render(APIS.values()))
