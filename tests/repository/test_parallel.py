"""What tests may share: those of one `xdist_group` run in one worker, one after the other."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.xdist_group("parallel")


def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    """pytest-xdist puts a group's name behind the names of its tests, and not every pytest lets it."""
    kept = request.config.getoption("loadgroup", default=False)
    assert request.node.nodeid.endswith("@parallel") is kept
