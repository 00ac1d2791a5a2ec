"""What a node shows people on its HTTP port: `/health` for probes, `/status` as JSON."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from kraft.broker.broker import Broker
from kraft.controller.quorum_member import QuorumMember
from replication.partition import Partition


def add_status_routes(
    app: web.Application, node_id: int, cluster_id: str, member: QuorumMember | None, broker: Broker | None
) -> None:
    """Add the routes; a node has one role or both."""

    async def health(_: web.Request) -> web.Response:
        serving = broker is None or broker.serving
        return web.json_response({"serving": serving}, status=200 if serving else 503)

    async def status(_: web.Request) -> web.Response:
        shown: dict[str, Any] = {"node_id": node_id, "cluster_id": cluster_id}
        if member is not None:
            shown["controller"] = _controller(member)
        if broker is not None:
            shown["broker"] = _broker(broker)
        return web.json_response(shown)

    app.router.add_get("/health", health)
    app.router.add_get("/status", status)


def _controller(member: QuorumMember) -> dict[str, Any]:
    status = member.driver.status()
    return {
        "active": member.service.active,
        "leader_id": status.leader_id,
        "term": status.term,
        "metadata_offset": member.service.image.offset,
    }


def _broker(broker: Broker) -> dict[str, Any]:
    return {
        "serving": broker.serving,
        "epoch": broker.controller.broker_epoch,
        "metadata_offset": broker.metadata.image.offset,
        "partitions": [_partition(partition) for partition in broker.replicas],
    }


def _partition(partition: Partition) -> dict[str, Any]:
    return {
        "topic": partition.topic,
        "partition": partition.index,
        "role": type(partition.role).__name__.lower(),
        "leader_epoch": partition.leader_epoch,
        "log_start_offset": partition.log.start_offset,
        "high_watermark": partition.high_watermark,
        "log_end_offset": partition.log.end_offset,
    }
