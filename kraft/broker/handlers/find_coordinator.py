"""FindCoordinator (key 10): which broker coordinates a group or a transactional id. Versions 0-6.

No coordinator runs yet: the answer is COORDINATOR_NOT_AVAILABLE, as from a Kafka whose `__consumer_offsets`
cannot be created. Clients that only produce, or assign partitions themselves, never need one; librdkafka
wants the API to be there before it compresses.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.dispatch import Request

_NOT_YET = "consumer groups and transactions are not served yet"


def find_coordinator(_: Request, message: Any) -> Any:
    """The same refusal for each key that was asked for."""
    response = response_class(ApiKey.FIND_COORDINATOR)
    code = ErrorCode.COORDINATOR_NOT_AVAILABLE
    coordinators = [
        response.Coordinator(key=key, node_id=-1, host="", port=-1, error_code=code, error_message=_NOT_YET)
        for key in message.coordinator_keys or ()
    ]
    return response(
        throttle_time_ms=0,
        error_code=code,
        error_message=_NOT_YET,
        node_id=-1,
        host="",
        port=-1,
        coordinators=coordinators,
    )
