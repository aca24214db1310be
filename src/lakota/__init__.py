"""Version control for time series and other indexed tables, on Arrow.

>>> from lakota import Repo, Schema
>>> repo = Repo()
>>> clct = repo.create_collection(Schema(timestamp="timestamp*", value="float"), "temperature")
>>> series = clct / "Brussels"
>>> revisions = series.write({"timestamp": ["2020-01-01", "2020-01-02"], "value": [3.5, 4.0]})
>>> series.df().height
2
"""

from .changelog import Changelog, Revision
from .clock import Clock
from .collection import Collection
from .errors import (
    AlreadyExistsError,
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
from .series import Series

__version__ = "0.1.0"

__all__ = [
    "AlreadyExistsError",
    "Changelog",
    "Clock",
    "Collection",
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
    "Repo",
    "Revision",
    "Schema",
    "SchemaError",
    "Series",
    "StoreError",
    "UnavailableError",
    "__version__",
]
