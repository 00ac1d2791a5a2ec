"""Regular expressions that clients send, matched in time that grows with the text alone.

Kafka uses RE2 for these, and so does this: its syntax has no backreferences and no lookaround, and no
expression can keep the broker busy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re2

from kafkawire.errors import ErrorCode, KafkaError

LONGEST_PATTERN: Final = 4096
"""Characters of an expression."""
_KEPT_PATTERNS: Final = 256
_MEMORY: Final = 1 << 20
"""Bytes that RE2 may use for an expression."""


@lru_cache(_KEPT_PATTERNS)
def compiled(pattern: str) -> re2._Regexp[str]:
    """The expression, to be asked with `fullmatch`. Raises KafkaError(INVALID_REGULAR_EXPRESSION)."""
    if len(pattern) > LONGEST_PATTERN:
        raise KafkaError(ErrorCode.INVALID_REGULAR_EXPRESSION, f"longer than {LONGEST_PATTERN}")
    import re2  # hardly any group uses one, and it takes two megabytes

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION, f"`{pattern}` is not a valid regular expression: {error}"
        ) from None
