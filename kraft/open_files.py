"""Lets this process have as many files open as the system allows it.

A broker has one for each segment of its logs and two for each connection. Under the usual limit of 1024 it
would stop when that is reached, as for a disk that fails, while the system would allow it hundreds of times
as many. Java's virtual machine does the same for Kafka (`MaxFDLimit`).
"""

from __future__ import annotations

import contextlib
import resource


def raise_limit() -> None:
    """Raise the limit to the one above which only the system's administrator may raise it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
