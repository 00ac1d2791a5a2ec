"""Importing what a node runs, without the certificates of the world.

aiohttp loads the system's certificate authorities as soon as it is imported, which takes a tenth of a second
and two megabytes. Nodes trust the cluster's secret, and never one of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kraft.config import NodeConfig

_WHERE: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for certificate authorities, if not in its own places."""


@contextmanager
def no_authorities() -> Iterator[None]:
    """OpenSSL finds no certificate authority meanwhile."""
    before = {name: os.environ.get(name) for name in _WHERE}
    os.environ.update(dict.fromkeys(_WHERE, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def import_node() -> Callable[[NodeConfig], int]:
    """`kraft.node.main`. For a process that is a node and nothing else."""
    with no_authorities():
        from kraft.node import main
    return main
