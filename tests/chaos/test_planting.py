"""Planted bugs are found for what they do, and not because they no longer fit the code."""

from __future__ import annotations

import pytest

from chaos.layers import find
from chaos.planting import MisfitError, Mutant
from chaos.quorum.mutants import MUTANTS
from kraft.quorum import guard


def may_leave() -> bool:
    """What the guard was once, with other parameters."""
    return True


def test_a_planted_bug_that_does_not_fit_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    misfit = Mutant("held back no more", ((guard, "may_leave", may_leave),))
    monkeypatch.setitem(MUTANTS, "misfit", misfit)  # type: ignore[arg-type]
    with pytest.raises(MisfitError, match=r"^misfit does not fit the code: seed 0 came to TypeError: "):
        find("quorum", "misfit", 0, 1, jobs=1)
