"""`kraft cluster`: the state of a cluster on one screen."""

from __future__ import annotations

from cli.render import print_cluster
from cli.session import administer
from kraft.client.admin import Admin


def show(bootstrap: str) -> int:
    """Show brokers, controllers and under-replicated partitions; returns the exit status."""

    async def work(admin: Admin) -> None:
        print_cluster(await admin.state())

    return administer(bootstrap, work)
