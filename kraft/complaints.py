"""What goes wrong is one line on stderr and an exit status: 2 for a command or configuration, else 1."""

from __future__ import annotations

import sys

FAILURE = 1
MISUSE = 2


def complain(message: str, status: int = FAILURE) -> int:
    """Write one line that begins with `error:`; returns `status`."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
