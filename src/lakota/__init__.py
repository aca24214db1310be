"""Version control for time series and other indexed tables, on Arrow.

>>> from lakota import Repo, Schema
>>> repo = Repo()
>>> clct = repo.create_collection(Schema(timestamp="timestamp*", value="float"), "temperature")
>>> series = clct / "Brussels"
>>> revisions = series.write({"timestamp": ["2020-01-01", "2020-01-02"], "value": [3.5, 4.0]})
>>> series.df().height
2

A name is imported when it is first used, so that what needs none, such as `lakota version`, starts
at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .changelog import Changelog, Revision
    from .clock import Clock
    from .collection import Collection
    from .errors import (
        AlreadyExistsError,
        ClockError,
        ClockWarning,
        ConflictError,
        DamagedError,
        FormatError,
        FrameError,
        InputError,
        LabelError,
        LakotaError,
        MissingExtraError,
        NotFoundError,
        ObjectMissingError,
        RangeError,
        SchemaError,
        StoreError,
        UnavailableError,
    )
    from .repo import Repo
    from .schema import Schema
    from .series import KVSeries, Series
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module
        from importlib.util import find_spec

        if name in _HOMES:
            value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        elif not name.startswith("_") and find_spec(f"{__name__}.{name}"):
            return import_module(f".{name}", __name__)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "AlreadyExistsError",
    "Changelog",
    "Clock",
    "ClockError",
    "ClockWarning",
    "Collection",
    "ConflictError",
    "DamagedError",
    "FormatError",
    "FrameError",
    "InputError",
    "KVSeries",
    "LabelError",
    "LakotaError",
    "MissingExtraError",
    "NotFoundError",
    "ObjectMissingError",
    "RangeError",
    "Repo",
    "Revision",
    "Schema",
    "SchemaError",
    "Series",
    "StoreError",
    "UnavailableError",
    "__version__",
]

_HOMES = {
    "Changelog": "changelog",
    "Clock": "clock",
    "Collection": "collection",
    "KVSeries": "series",
    "Repo": "repo",
    "Revision": "changelog",
    "Schema": "schema",
    "Series": "series",
    **{name: "errors" for name in __all__ if name.endswith(("Error", "Warning"))},
}
