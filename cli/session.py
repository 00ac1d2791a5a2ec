"""One command's conversation with a cluster."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from kafkawire.errors import KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.complaints import FAILURE, MISUSE, complain


def administer(bootstrap: str, work: Callable[[Admin], Awaitable[None]]) -> int:
    """Do `work` with an admin client; what goes wrong is one line. Returns the exit status."""

    async def session() -> None:
        async with Cluster(bootstrap) as cluster:
            await work(Admin(cluster))

    try:
        asyncio.run(session())
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads stdout has enough; what is left goes nowhere, without a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except KafkaError as error:
        detail = f": {error.message}" if error.message else ""
        return complain(f"{error.code.name}{detail}")
    except CONNECTION_FAILURES as error:
        return complain(str(error) or "the cluster does not answer in time")
    except UnicodeEncodeError as error:  # of a name that is no text
        return complain(str(error), MISUSE)
    except ValueError as error:
        return complain(f"--bootstrap-server: {error}", MISUSE)
    return 0
