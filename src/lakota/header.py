"""The header of a repo: `lakota.json`, which says of what format it is.

```
{"format": 2, "digest": "xxh3_128", "created": "2026-01-31T12:00:00+00:00"}
```

Where there is none, nothing was written yet. A repo keeps the format that it was made with: a
later release reads and writes older ones, so that earlier releases can still read them.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

from .errors import DamagedError, FormatError, ObjectMissingError
from .store.base import Store

__all__ = ["FORMAT", "FORMATS", "HEADER", "Header"]

FORMAT = 2
FORMATS = (1, 2)
HEADER = "lakota.json"


class Header:
    """The header of the repo in a store. Once it is there it does not change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: int | None = None
        self._reading = threading.Lock()

    @property
    def format(self) -> int:
        """The format of the repo, or the one that a new repo gets.

        Raises `FormatError` if this release does not know it, `DamagedError`.
        """
        return self._known() or FORMAT

    def prepare(self) -> None:
        """Write the header before the first write."""
        if self._known() is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            header = {"format": FORMAT, "digest": "xxh3_128", "created": created}
            self._store.put(HEADER, (json.dumps(header) + "\n").encode())
            self._found = FORMAT

    def _known(self) -> int | None:
        if self._found is None:
            with self._reading:  # who comes second has what the first is waiting for
                if self._found is None:
                    self._found = self._read()
        return self._found

    def _read(self) -> int | None:
        try:
            found = json.loads(self._store.get(HEADER).to_pybytes())["format"]
        except ObjectMissingError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(
                f"{HEADER} of {self._store!r} is not a header: {error}; it is a JSON object: write "
                f'{{"format": {FORMAT}}} if all else is in place'
            ) from error
        if found not in FORMATS:
            raise FormatError(
                f"{self._store!r} is of format {found}; this release reads "
                f"{' and '.join(map(str, FORMATS))}: install a later one"
            )
        return int(found)
