"""The guards of the quorum, each taken away from outside: the simulation has to notice.

Numbers are those of the guard's own sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaos.planting import Mutant, Replacement
from kraft.quorum import guard
from kraft.quorum.guard import Admitted, LogView
from kraft.quorum.links import Message


def _without(**functions: Callable[..., Any]) -> tuple[Replacement, ...]:
    """Replace functions of `guard`."""
    return tuple((guard, name, function) for name, function in functions.items())


def _always(*_: object) -> bool:
    return True


def _admit_unchanged(_log: LogView, _committed: int, message: Message) -> Admitted:
    return Admitted(message)


def _count_all(acknowledged: int, _synced_index: int) -> int:
    return acknowledged


def _accept_from_any_leader(_term: int, leading: int | None) -> bool:
    return leading is not None


def _leave_commit_index(message: Message, _committed: int) -> Message:
    return {name: message[name] for name in ("type", "term", "commit_index")} | {"serialized": None}


MUTANTS: Mapping[str, Mutant] = {
    "stale-append-truncates": Mutant(
        "1: an old append_entries removes acknowledged entries", _without(admit_append=_admit_unchanged)
    ),
    "stale-reply-counts": Mutant(
        "2: a reply of an earlier term counts in this one", _without(answers_current_term=_always), nodes=5
    ),
    "reply-before-sync": Mutant(
        "3: votes and acknowledgements leave before they are durable", _without(may_leave=_always)
    ),
    "leader-counts-unsynced": Mutant(
        "3: a leader counts entries that its own disk lacks", _without(counted_up_to=_count_all)
    ),
    "single-counts-unsynced": Mutant(
        "3: a quorum of one commits before its sync", _without(may_commit_alone=_always), nodes=1
    ),
    "stale-proposal-lands": Mutant(
        "4: a proposal commits in another term, or at another offset",
        _without(accepts_proposal=_accept_from_any_leader, lands=_always),
    ),
    "old-snapshot-installs": Mutant("6: a snapshot takes the state back", _without(admit_snapshot=_always)),
    "snapshot-commits-tail": Mutant(
        "7: a piece of a snapshot commits a tail that the leader does not have",
        _without(vouches_for_nothing=_leave_commit_index),
    ),
}
