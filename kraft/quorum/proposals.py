"""Proposals on their way: queued for the log, then waiting for their commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from metadata.log import Outcome

Done = Callable[[Outcome], None]


class Proposal(NamedTuple):
    """An encoded batch, the term it was decided in, and whom to tell."""

    term: int
    command: bytes
    done: Done


class Resolved(NamedTuple):
    """A proposal whose outcome is known."""

    done: Done
    outcome: Outcome

    def tell(self) -> None:
        """Tell whoever proposed it."""
        self.done(self.outcome)


class Proposals:
    """Every proposal that is taken comes out of here exactly once, with its outcome."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._queued: deque[Proposal] = deque()
        self._appended: dict[int, Proposal] = {}

    def __len__(self) -> int:
        return len(self._queued) + len(self._appended)

    @property
    def has_queued(self) -> bool:
        """Whether any waits to be appended."""
        return bool(self._queued)

    def queue(self, proposal: Proposal) -> bool:
        """False if that would be too many, or too many bytes."""
        if len(self) >= self._max_count or self._bytes + len(proposal.command) > self._max_bytes:
            return False
        self._bytes += len(proposal.command)
        self._queued.append(proposal)
        return True

    def take_queued(self) -> list[Proposal]:
        """All that wait to be appended; each must go to `appended` or `forget`."""
        taken = list(self._queued)
        self._queued.clear()
        return taken

    def appended(self, index: int, proposal: Proposal) -> None:
        """The log has it at `index`."""
        self._appended[index] = proposal

    def forget(self, proposal: Proposal, outcome: Outcome) -> Resolved:
        """It will not be waited for."""
        self._bytes -= len(proposal.command)
        return Resolved(proposal.done, outcome)

    def applied(self, index: int, term: int, outcome: Outcome) -> Resolved | None:
        """The entry at `index` was applied: what came of the proposal that waited for it, if one did."""
        proposal = self._appended.pop(index, None)
        if proposal is None:
            return None
        return self.forget(proposal, outcome if proposal.term == term else Outcome.REJECTED)

    def abandon(self) -> list[Resolved]:
        """Leadership is lost: what is in the log may commit or not, what is not in it never will."""
        resolved = [self.forget(proposal, Outcome.UNKNOWN) for _, proposal in sorted(self._appended.items())]
        self._appended.clear()
        resolved += [self.forget(proposal, Outcome.REJECTED) for proposal in self.take_queued()]
        return resolved
