"""What all tests share: how thoroughly Hypothesis looks, and that no setting of the outside leaks in."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", parent=settings.get_profile("suite"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's KRAFT_… variables must not configure the nodes that tests start."""
    for name in [name for name in os.environ if name.startswith("KRAFT_")]:
        monkeypatch.delenv(name)
