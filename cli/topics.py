"""`kraft topics …`, over Kafka's protocol."""

from __future__ import annotations

from cli.render import print_topic
from cli.session import administer
from kraft.client.admin import Admin
from kraft.complaints import MISUSE, complain
from kraft.config_sources import ConfigError, from_assignments


def create(
    bootstrap: str, name: str, partitions: int, replication_factor: int, configs: tuple[str, ...]
) -> int:
    """Create a topic; returns the exit status."""
    try:
        settings = {key: setting.text for key, setting in from_assignments(configs, "--config").items()}
    except ConfigError as error:
        return complain(str(error), MISUSE)

    async def work(admin: Admin) -> None:
        await admin.create_topic(
            name, partitions=partitions, replication_factor=replication_factor, configs=settings
        )
        print(f"created {name}")

    return administer(bootstrap, work)


def list_names(bootstrap: str, *, internal: bool) -> int:
    """Print the topics' names, one a line; returns the exit status."""

    async def work(admin: Admin) -> None:
        for topic in await admin.topics():
            if internal or not topic.internal:
                print(topic.name)

    return administer(bootstrap, work)


def describe(bootstrap: str, name: str) -> int:
    """Show one topic; returns the exit status."""

    async def work(admin: Admin) -> None:
        print_topic(await admin.topic(name), await admin.topic_configs(name))

    return administer(bootstrap, work)


def delete(bootstrap: str, name: str) -> int:
    """Delete a topic; returns the exit status."""

    async def work(admin: Admin) -> None:
        await admin.delete_topic(name)
        print(f"deleted {name}")

    return administer(bootstrap, work)
