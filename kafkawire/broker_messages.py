"""The classes of UnregisterBroker, made by kafka-python from our own definitions of them."""

from __future__ import annotations

from kafka.protocol.api_message import ApiMessage

_DEFINITIONS = "kafkawire.definitions"


class UnregisterBrokerRequest(ApiMessage, load_json=_DEFINITIONS):  # type: ignore[call-arg, misc]
    """See its definition."""


class UnregisterBrokerResponse(ApiMessage, load_json=_DEFINITIONS):  # type: ignore[call-arg, misc]
    """See its definition."""
