"""Moments of the past: what `as_of=` and `before=` accept.

A moment is a time, a revision or a tag. Times without a zone are UTC, as in the data; a date is its
midnight; an int is nanoseconds since 1970, as a stamp.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from .errors import RangeError

__all__ = ["child_of", "is_name", "nanoseconds", "through"]

_CHILD = re.compile(r"(?:[0-9a-f]{16}-[0-9a-f]{32}\.)?([0-9a-f]{16}-[0-9a-f]{32})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def child_of(moment: Any) -> str | None:
    """The child that a moment names: a `Revision`, its path or its child; None for a time."""
    child = getattr(moment, "child", moment)
    match = _CHILD.fullmatch(child) if isinstance(child, str) else None
    return match[1] if match else None


def is_name(moment: Any) -> bool:
    """Whether it can only be the name of a tag: text that is neither a revision nor a time.

    >>> is_name("v1"), is_name("2020-01-01")
    (True, False)
    """
    if not isinstance(moment, str) or child_of(moment) is not None:
        return False
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return True
    return False


def nanoseconds(moment: Any, *, what: str = "as_of") -> int:
    """A time as nanoseconds since 1970 (UTC).

    >>> nanoseconds("1970-01-02")
    86400000000000
    >>> nanoseconds("1970-01-01T01:00+01:00")
    0
    """
    if isinstance(moment, np.datetime64):
        if np.isnat(moment):
            raise _refused(moment, what)
        return int(moment.astype("datetime64[ns]").astype(np.int64))
    if isinstance(moment, (int, np.integer)) and not isinstance(moment, (bool, np.bool_)):
        return int(moment)
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise _refused(moment, what) from None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime) or moment != moment:
        raise _refused(moment, what)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    extra = int(getattr(moment, "nanosecond", 0))  # a pandas Timestamp has more digits
    micros = int((moment - _EPOCH) // timedelta(microseconds=1))
    return micros * 1000 + extra


def through(moment: Any) -> int:
    """The last nanosecond that a time names: a datetime names a whole microsecond, so that as of
    `revision.time` the revision is there.

    >>> through("1970-01-01T00:00:00.000001")
    1999
    """
    exact = isinstance(moment, (int, np.integer, np.datetime64)) or hasattr(moment, "nanosecond")
    return nanoseconds(moment) + (0 if exact else 999)


def _refused(moment: Any, what: str) -> RangeError:
    return RangeError(
        f"{what}={moment!r} is no moment: expected a datetime, a date, an ISO 8601 string, "
        "nanoseconds since 1970 as an int, or a revision"
    )
