"""W10: 399 publications of a table of cases by country and day, each of them complete.

`prepare` reads `countries_revisions.parquet` once and writes an Arrow file with one batch for each
publication, sorted by country and day; `Sizes.publications` says how many of them are replayed.
Every library gets each as a table, commits it as all that there is, and reads some of the past.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

from kit import Sizes, Wrong
from library import Library
from measure import Metrics, stored, timed

FILE = "countries_revisions.parquet"
HERE = Path(__file__).resolve().parent
PREPARED = "LAKOTA_BENCH_PUBLICATIONS"
"""The environment variable that names the Arrow file."""
VALUES = ("Confirmed", "Recovered", "Deaths")
SOME = 8
"""Every so manieth publication is read back."""


def source() -> Path:
    """Where the file would be."""
    beside = HERE.parents[1] / "shared" / "data"
    return Path(os.environ.get("LAKOTA_DATA", beside)) / FILE


def prepare(target: str) -> None:
    import polars as pl
    import pyarrow as pa

    lazy = pl.scan_parquet(source())
    moments = lazy.select(pl.col("revised_at").unique().sort()).collect()["revised_at"].to_list()
    writer = None
    for at in range(0, len(moments), 40):
        some = lazy.filter(pl.col("revised_at").is_in(moments[at : at + 40]))
        frame = some.sort("revised_at", "Country", "Date").collect()
        for part in frame.partition_by("revised_at", maintain_order=True):
            columns = [
                part["Country"].to_arrow().cast(pa.string()),
                part["Date"].to_arrow(),
                *(part[name].cast(pl.Int64).to_arrow() for name in VALUES),
            ]
            table = pa.table(columns, ["Country", "Date", *VALUES]).combine_chunks()
            if writer is None:
                writer = pa.ipc.new_file(target, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


def _publications() -> Any:
    path = os.environ.get(PREPARED)
    if not path:
        raise NotImplementedError(f"no {FILE}: name its folder in LAKOTA_DATA")
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(path))


def _table(file: Any, i: int) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([file.get_batch(i)])


def replay(library: Library, sizes: Sizes) -> Metrics:
    return _replay(library, sizes, "W10", only_changes=False)


def replay_changes(library: Library, sizes: Sizes) -> Metrics:
    return _replay(library, sizes, "W10 only changes", only_changes=True)


def read_back(library: Library, sizes: Sizes) -> Metrics:
    return _read_back(library, sizes, "W10")


def read_back_changes(library: Library, sizes: Sizes) -> Metrics:
    return _read_back(library, sizes, "W10 only changes")


def _replay(library: Library, sizes: Sizes, work: str, *, only_changes: bool) -> Metrics:
    file = _publications()
    library.create()
    total, versions = 0.0, []
    for i in range(min(sizes.publications, file.num_record_batches)):
        publication = library.publication(_table(file, i))
        seconds, version = timed(lambda p=publication: library.publish(p, only_changes))
        total += seconds
        versions.append(version)
    Path(library.folder, "versions.json").write_text(json.dumps(versions))
    size, files = stored(library.folder)
    found = {f"{work}: replay": total, f"{work}: stored, bytes": size, f"{work}: files": files}
    if len(versions) == file.num_record_batches:
        found["W10 the Parquet file of all, bytes"] = source().stat().st_size
    return found


def _read_back(library: Library, sizes: Sizes, work: str) -> Metrics:
    file = _publications()
    library.open_published()
    versions = json.loads(Path(library.folder, "versions.json").read_text())
    times = []
    for i in range(0, len(versions), SOME):
        seconds, found = timed(lambda i=i: library.published(versions[i]))
        times.append(seconds)
        _compare(library, library.published_table(found), _table(file, i), f"{work}, {i}")
    result = {f"{work}: read a past publication": statistics.median(times)}
    try:
        library.pack()
    except NotImplementedError:
        return result
    last = library.published_table(library.published(versions[-1]))
    _compare(library, last, _table(file, len(versions) - 1), f"{work} packed")
    return {**result, f"{work}: packed, bytes": stored(library.folder)[0]}


def _compare(library: Library, found: Any, expected: Any, what: str) -> None:
    found = found.select(expected.column_names).cast(expected.schema)
    found = found.sort_by([("Country", "ascending"), ("Date", "ascending")])
    for name in expected.column_names:
        if not found[name].combine_chunks().equals(expected[name].combine_chunks()):
            raise Wrong(f"{library.name}: {what}: {name} is not what was published")
