"""A node's process does without what nodes do not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
import cli.run
assert "aiohttp" not in sys.modules, "too early: the configuration is read without it"
from cli.node_import import import_node
assert callable(import_node())
from aiohttp import connector
print(json.dumps([
    connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"],
    {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")},
]))
"""


@pytest.mark.parametrize("given", [{}, {"SSL_CERT_FILE": "/nowhere"}, {"SSL_CERT_DIR": "/nowhere"}])
def test_a_node_loads_no_certificate_authorities(given: dict[str, str]) -> None:
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment | given,
    )
    loaded, left = json.loads(ran.stdout)
    assert loaded == 0
    assert left == {name: given.get(name) for name in names}, "as it was before"
