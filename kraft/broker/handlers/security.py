"""What a broker without an authorizer and without SASL answers to those who ask for either.

SaslHandshake (key 17, versions 0-1) and SaslAuthenticate (key 36, versions 0-2) come where nothing is to be
authenticated: ILLEGAL_SASL_STATE, and the connection stays. DescribeAcls, CreateAcls and DeleteAcls (keys 29
to 31, versions 1-3): SECURITY_DISABLED, for there is nobody who would obey them.
"""

from __future__ import annotations

from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.dispatch import Request

_NO_AUTHORIZER: Final = "No Authorizer is configured."


class WithoutSecurity:
    """Its methods are handlers."""

    def sasl_handshake(self, request: Request, message: Any) -> Any:
        """No mechanism is enabled."""
        return response_class(ApiKey.SASL_HANDSHAKE)(error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[])

    def sasl_authenticate(self, request: Request, message: Any) -> Any:
        """Nobody has to."""
        return response_class(ApiKey.SASL_AUTHENTICATE)(
            error_code=ErrorCode.ILLEGAL_SASL_STATE,
            error_message="SaslAuthenticate request received after successful authentication",
            auth_bytes=b"",
            session_lifetime_ms=0,
        )

    def describe_acls(self, request: Request, message: Any) -> Any:
        """There are none, and nobody to keep them."""
        return response_class(ApiKey.DESCRIBE_ACLS)(
            throttle_time_ms=0,
            error_code=ErrorCode.SECURITY_DISABLED,
            error_message=_NO_AUTHORIZER,
            resources=[],
        )

    def create_acls(self, request: Request, message: Any) -> Any:
        """One refusal for each ACL."""
        response = response_class(ApiKey.CREATE_ACLS)
        refused = response.AclCreationResult(
            error_code=ErrorCode.SECURITY_DISABLED, error_message=_NO_AUTHORIZER
        )
        return response(throttle_time_ms=0, results=[refused for _ in message.creations])

    def delete_acls(self, request: Request, message: Any) -> Any:
        """One refusal for each filter."""
        response = response_class(ApiKey.DELETE_ACLS)
        refused = response.DeleteAclsFilterResult(
            error_code=ErrorCode.SECURITY_DISABLED, error_message=_NO_AUTHORIZER, matching_acls=[]
        )
        return response(throttle_time_ms=0, filter_results=[refused for _ in message.filters])
