"""DescribeCluster (key 60): the cluster's id and brokers. Versions 0-2, from version 2 with brokers that are
fenced if they are asked for (KIP-700, KIP-919, KIP-1073)."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_CLUSTER
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request

BROKERS = 1
CONTROLLERS = 2


class DescribeClusterHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_CLUSTER)

    def __call__(self, request: Request, message: Any) -> Any:
        context = self._context
        if message.endpoint_type != BROKERS:
            known = message.endpoint_type == CONTROLLERS
            return self._response(
                throttle_time_ms=0,
                error_code=ErrorCode.MISMATCHED_ENDPOINT_TYPE
                if known
                else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
                error_message="this is a broker's endpoint" if known else "unknown endpoint type",
                endpoint_type=BROKERS,
                cluster_id=context.cluster_id,
                brokers=[],
            )
        brokers = []
        image = context.metadata.image
        known = sorted(image.brokers.items())
        for broker in [each for _, each in known if not each.fenced or message.include_fenced_brokers]:
            endpoint = broker.endpoint(request.connection.listener)
            if endpoint is not None:
                brokers.append(
                    self._response.DescribeClusterBroker(
                        broker_id=broker.broker_id,
                        host=endpoint.host,
                        port=endpoint.port,
                        rack=broker.rack,
                        is_fenced=broker.fenced,
                    )
                )
        return self._response(
            throttle_time_ms=0,
            error_code=0,
            error_message=None,
            endpoint_type=BROKERS,
            cluster_id=context.cluster_id,
            controller_id=context.node_id if brokers else -1,
            brokers=brokers,
            authorized_operations=ON_CLUSTER if message.include_cluster_authorized_operations else None,
        )
