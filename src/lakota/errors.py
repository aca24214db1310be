"""The tree of errors. Lowest layer: imports nothing of the package.

Every error that a user can cause or meet derives from `LakotaError` and from the builtin
that a caller would catch in its place. A message says what was found, what was expected
and what to do.

```
LakotaError
├── InputError (ValueError)            what was passed cannot be used; nothing was changed
│   ├── SchemaError                    a schema that cannot be, or two that do not fit
│   ├── FrameError                     a frame that does not fit its schema without loss
│   ├── LabelError                     a label that cannot name a series or a collection
│   ├── RangeError                     bounds, closed, limit, offset, as_of
│   ├── AlreadyExistsError             the label is taken
│   └── ConflictError                  two sides changed the same keys, and this is not wanted
├── NotFoundError (KeyError)           a collection, revision or column that is not there
├── ClockError (ValueError)            a stamp further ahead than max_ahead allows
├── StoreError (OSError)               the store failed: disk full, no permission, ...
│   ├── ObjectMissingError (FileNotFoundError)   the store has no object of that name
│   └── UnavailableError (ConnectionError)        no answer, or asked to slow down: try again
├── DamagedError (ValueError)          bytes that are not what their name says
├── FormatError (ValueError)           a repo, object or codec of an unknown format version
└── MissingExtraError (ImportError)    an optional dependency is not installed
```
"""

from __future__ import annotations

__all__ = [
    "AlreadyExistsError",
    "ClockError",
    "ClockWarning",
    "ConflictError",
    "DamagedError",
    "FormatError",
    "FrameError",
    "InputError",
    "LabelError",
    "LakotaError",
    "MissingExtraError",
    "NotFoundError",
    "ObjectMissingError",
    "RangeError",
    "SchemaError",
    "StoreError",
    "UnavailableError",
]


class LakotaError(Exception):
    """Base of all errors of this package."""


class InputError(LakotaError, ValueError):
    """What was passed cannot be used. Nothing was changed."""


class SchemaError(InputError):
    """A schema that cannot be, or two schemas that do not fit each other."""


class FrameError(InputError):
    """A frame that does not fit its schema without loss."""


class LabelError(InputError):
    """A label that cannot name a series or a collection."""


class RangeError(InputError):
    """A bound, `closed`, `limit`, `offset`, `before` or `as_of` that cannot be used."""


class AlreadyExistsError(InputError):
    """The label is taken."""


class ConflictError(InputError):
    """Two sides changed the same keys in different ways, and `on_conflict="raise"` was asked for.
    Nothing was changed."""


class NotFoundError(LakotaError, KeyError):
    """A collection, revision or column that is not there; the message lists what is."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which garbles a sentence.
        return str(self.args[0]) if self.args else ""


class ClockError(LakotaError, ValueError):
    """A revision is stamped further in the future than `Repo(max_ahead=)` allows. Nothing was
    changed."""


class ClockWarning(UserWarning):
    """A revision is stamped more than a day in the future."""


class StoreError(LakotaError, OSError):
    """The store failed: disk full, no permission, connection lost."""


class ObjectMissingError(StoreError, FileNotFoundError):
    """The store has no object of that name."""


class UnavailableError(StoreError, ConnectionError):
    """The store did not answer, failed on its side, or asked to slow down. The same call may
    succeed later, and may be made again: whether it took effect or not, nothing is lost."""


class DamagedError(LakotaError, ValueError):
    """Bytes that are not what their name says."""


class FormatError(LakotaError, ValueError):
    """A repo, an object or a codec of a format version that this release does not know."""


class MissingExtraError(LakotaError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""
