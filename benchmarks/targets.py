"""What is to be reached: the ratio of a figure to another one, at most."""

from __future__ import annotations

from dataclasses import dataclass

BEST = "best"
"""The smallest figure of a versioned peer in the same run."""


@dataclass(frozen=True)
class Target:
    """`ours[metric] <= factor * reference`, or the limit if that is more."""

    metric: str
    factor: float
    of: str = BEST
    """`best`, `best reader` (whoever is best at W2), the name of a library, `own METRIC`,
    `limit NAME` (of the machine), `input` (its bytes), or `1`: the factor itself, in the unit of
    the metric."""
    peer_metric: str = ""
    """What is compared of the peers, if it is not the same metric."""
    limit: str = ""
    """A limit of the machine below which nothing can be asked."""
    limit_factor: float = 1.0
    """Of the work's size, how much the limit is about."""


SMALL = "4 kB: write, fsync, rename, fsync folder"
LARGE = "write and fsync 160 MB"
SUM = "mmap and sum 160 MB"
DECODE = "pcodec to 160 MB, 2 threads"
KILOBYTE = 1024.0

TARGETS = (
    Target("W1 write", 0.8, limit=LARGE),
    Target("W1 noise, write", 0.8, limit=LARGE),
    Target("W1 peak memory over the input, bytes", 1.0),
    Target("W2 read, new handle", 0.7, limit=SUM),
    Target("W2 read, new handle", 1.5, f"limit {SUM}"),
    Target("W2 memory of the result, bytes", 0.05, "input"),
    Target("W2p read, new handle", 1.3, peer_metric="W2 read, new handle", limit=DECODE),
    Target("W9 packed, bytes", 0.1, peer_metric="W9 as written, bytes", of="best reader"),
    Target("W3 range, open handle", 0.3),
    Target("W3 range, new handle", 0.7),
    Target("W3p range, open handle", 0.3, peer_metric="W3 range, open handle"),
    Target("W3p range, new handle", 0.7, peer_metric="W3 range, new handle"),
    Target("W4 commits", 0.6, limit=SMALL),
    Target("W4 last tenth over first tenth, ratio", 1.2, "1"),
    Target("W4 peak memory over the input, bytes", 1.0),
    Target("W4 then full read, new handle", 1.0),
    Target("W4 then range, open handle", 0.5),
    Target("W4 then append, new handle", 0.7, limit=SMALL),
    Target("W5 bulk", 1.0, "delta"),
    Target("W5 multi, as many writes", 0.2, "lakota 0.7.1"),
    Target("W5 peak memory over the input, bytes", 1.0),
    Target("W5 open and list labels", 1.0),
    Target("W5 read one series", 0.5),
    Target("W5 small append", 1.0, limit=SMALL),
    Target("W5 small append adds, bytes", 16 * KILOBYTE, "1"),
    Target("W6 overwrite", 1.0, limit=LARGE, limit_factor=0.1),
    Target("W6 read after", 0.7, limit=SUM),
    Target("W6 read the version before", 0.7, limit=SUM),
    Target("W7 replicate", 2.0, "own W7 plain copy of the folder"),
    Target("W7 one more commit", 0.3, limit=SMALL),
    Target("W7 sent over new bytes, ratio", 1.1, "1"),
    Target("W8 pull and merge, aligned", 0.5, "lakota 0.7.1"),
    Target("W8 pull and merge, overlapping", 2.0, "own W8 pull and merge, aligned"),
    Target("W9 packed, bytes", 0.3, peer_metric="W9 as written, bytes"),
    Target("W9 noise, packed, bytes", 1.0, peer_metric="W9 noise, as written, bytes"),
    Target("W4 packed, bytes", 1.0, peer_metric="W4 stored, bytes"),
    Target("W5 packed, bytes", 1.0, peer_metric="W5 stored, bytes"),
    Target("W10: replay", 1.0),
    Target("W10: stored, bytes", 1.0),
    Target("W10: packed, bytes", 1.0, peer_metric="W10: stored, bytes"),
    Target("W10: read a past publication", 1.0),
    Target("W10 only changes: packed, bytes", 3.0, "own W10 the Parquet file of all, bytes"),
    Target("import, on top of polars and pyarrow", 0.03, "1"),
)
