"""How much of anything a server gives to those who ask."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a server. Raises `InputError` for one that is not positive.

    >>> Limits(body=1 << 20).body
    1048576
    """

    body: int = 256 << 20
    """Bytes of one request."""
    memory: int = 1 << 30
    """Bytes of all requests that are being received or verified at once; others wait."""
    inflated: int = 256 << 20
    """Bytes that a batch of rows in a pushed object may decompress to."""
    requests: int = 64
    """Requests at once; more are told to come back."""
    connections: int = 1000
    """Connections at once."""
    threads: int = 16
    """Requests for objects that are worked on at once."""
    questions: int = 4
    """Questions (rows, series, the log, differences) that are worked on at once besides: slow
    ones keep no object waiting."""
    diff_rows: int = 5_000_000
    """Rows that are compared to answer for differences."""
    seconds: float = 60
    """Until the headers of a request are there, and until an answer begins."""
    idle: float = 20
    """Seconds without a byte, in either direction."""
    rate: int = 10_000
    """Bytes a second that a body must arrive with, on average, after the first `idle` seconds."""
    ahead: float = 86_400
    """Seconds that the stamp of a pushed revision may be ahead of this machine's clock."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InputError(f"limit {field.name}={value!r}: expected a number above 0")
