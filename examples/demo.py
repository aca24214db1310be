"""A tour of lakota in a few seconds: `make demo`, or `python examples/demo.py`.

Two repos are made in `./lakota-demo`. They drift apart and come together again; then we look
back. Every number is made up, and the same at every run.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lakota import Collection, Repo, Revision, Schema

FOLDER = Path("lakota-demo")
REPOS = ("office", "laptop")
INSIDE = {"lakota.json", "segments", "pages", "changelog"}
"""What a repo has in its folder."""

STATIONS = {"Brussels": (11.0, 7.0), "Lisbon": (17.5, 6.0), "Oslo": (6.5, 11.0)}
"""Mean of the year and half the difference between summer and winter, in degrees."""
YEAR = datetime(2024, 1, 1), datetime(2025, 1, 1)
BAD_DAY = datetime(2024, 7, 14), datetime(2024, 7, 15)


def main() -> None:
    start_afresh(FOLDER)
    pl.Config.set_tbl_hide_dataframe_shape(True)
    pl.Config.set_tbl_hide_column_data_types(True)
    pl.Config.set_fmt_str_lengths(60)
    pl.Config.set_tbl_width_chars(100)

    title("1. Write: a repo, a collection, three series, one revision")
    office = Repo(FOLDER / "office")
    schema = Schema(timestamp="timestamp*", temperature="float", wind="float")
    weather = office.create_collection(schema, "weather")
    year = pl.concat([observed(name, *YEAR) for name in STATIONS])
    loaded = weather.write(year, label="station", author="ana", message="all of 2024")
    say(
        "One table of {:,} rows. Its column `station` says to which series a row goes:", year.height
    )
    code('weather.write(table, label="station", author="ana", message="all of 2024")')
    show("weather.ls()", weather.ls())
    show('(weather / "Oslo").df(limit=3)', (weather / "Oslo").df(limit=3))

    title("2. Push: the same on a laptop")
    laptop = Repo(FOLDER / "laptop")
    office.push(laptop)
    say("A push copies what the other side lacks. From here on, both work on their own.")
    code("office.push(laptop)")
    show("laptop.ls()", laptop.ls())

    title("3. Diverge: a correction here, an extension there")
    on_laptop = laptop / "weather" / "Brussels"
    warm = on_laptop.df(*BAD_DAY)
    right = warm.with_columns((pl.col("temperature") - 5.0).round(1))
    on_laptop.write(right, author="ben", message="the sensor stood in the sun")
    say("The laptop corrects one day of Brussels, 5 degrees too warm:")
    code('on_laptop.write(right, author="ben", message="the sensor stood in the sun")')
    more = pl.concat([observed(name, YEAR[1], YEAR[1] + timedelta(days=31)) for name in STATIONS])
    weather.write(more, label="station", author="ana", message="January 2025")
    say("The office, which knows nothing of that, appends January 2025:")
    code('weather.write(more, label="station", author="ana", message="January 2025")')

    title("4. Pull: two heads, and nothing is lost")
    office.pull(laptop)
    code("office.pull(laptop)")
    show("weather.changelog.log()", history(weather))
    say("The two revisions marked * are heads. They have the same parent.")

    title("5. Merge: it always succeeds")
    weather.merge()
    code("weather.merge()")
    show("weather.changelog.log()", history(weather))
    say("One head, which has two parents. At each key the last write wins: both changes stand.")
    brussels = weather / "Brussels"
    show('brussels.df("2024-07-14", limit=2)', brussels.df(BAD_DAY[0], limit=2))
    show("brussels.df().tail(2)", brussels.df().tail(2))

    title("6. As of: what did we know before the correction?")
    before = brussels.df(*BAD_DAY, as_of=loaded[0], select=["timestamp", "temperature"])
    now = brussels.df(*BAD_DAY, select=["timestamp", "temperature"])
    both = before.rename({"temperature": "as of the load"}).join(
        now.rename({"temperature": "now"}), on="timestamp"
    )
    code('brussels.df("2024-07-14", "2024-07-15", as_of=loaded[0])')
    show("The same with as_of= and without, side by side", both[11:15])
    say("Every read takes as_of=, a revision as here or a time.")

    title("7. Who did what, and when")
    code("weather.changelog.document(revision)")
    show("The documents of all revisions", documents(weather))

    title("8. Pack: the same rows in fewer bytes")
    fresh, packed = office.pack()
    code("office.pack()")
    say("{:,} bytes as written, {:,} packed: {:.1f} times fewer.", fresh, packed, fresh / packed)
    again = brussels.df(*BAD_DAY, as_of=loaded[0])
    say("Read again as of the load: {}.", "the same rows" if again.equals(warm) else "OTHER ROWS")

    title("9. Check: every object against its name")
    report = office.check()
    code("office.check()")
    say("{0.revisions} revisions, {0.pages} pages and {0.segments} segments were read:", report)
    say("{}", "all is well." if report else "\n".join(map(str, report.damaged)))

    farewell()


def start_afresh(folder: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    if not os.path.lexists(folder):
        return
    if not is_ours(folder):
        sys.exit(
            f"{folder.absolute()} holds something that this demo did not make, so it is left as "
            "it is. Move it away, or run the demo in another folder."
        )
    shutil.rmtree(folder)


def is_ours(folder: Path) -> bool:
    """Whether there is nothing but repos of this demo in the folder."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    repos = list(folder.iterdir())
    return all(
        repo.name in REPOS
        and repo.is_dir()
        and not repo.is_symlink()
        and (repo / "lakota.json").is_file()
        and {entry.name for entry in repo.iterdir()} <= INSIDE
        for repo in repos
    )


def observed(station: str, start: datetime, stop: datetime) -> pl.DataFrame:
    """Hourly weather of a station, invented: a year, a day, and some noise."""
    mean, swing = STATIONS[station]
    hours = int((stop - start) / timedelta(hours=1))
    since = int((start - YEAR[0]) / timedelta(hours=1))
    rng = np.random.default_rng([since, *station.encode()])
    hour = np.arange(since, since + hours)
    season = -np.cos(2 * np.pi * (hour / 24 - 20) / 365.25)
    daytime = -np.cos(2 * np.pi * (hour - 3) / 24)
    temperature = mean + swing * season + 3 * daytime + rng.normal(0, 1.2, hours)
    if station == "Brussels":
        first, last = ((day - start) // timedelta(hours=1) for day in BAD_DAY)
        temperature[max(first, 0) : max(last, 0)] += 5.0
    wind = rng.gamma(2.0, 2.0, hours)
    return pl.DataFrame(
        {
            "station": station,
            "timestamp": pl.datetime_range(start, stop, "1h", closed="left", eager=True),
            "temperature": temperature.round(1),
            "wind": wind.round(1),
        }
    )


def history(clct: Collection) -> pl.DataFrame:
    """The changelog as a frame: an edge a row."""
    return pl.DataFrame(
        [
            {
                "parent": short(revision.parent),
                "child": short(revision.child),
                "head": "*" if revision.is_leaf else "",
                "message": described(clct, revision),
            }
            for revision in clct.changelog.log()
        ]
    )


def short(child: str) -> str:
    """Stamps differ at their end, digests anywhere: some digits of both tell revisions apart."""
    stamp, digest = child.split("-")
    return f"..{stamp[-8:]}-{digest[:6]}.." if int(stamp, 16) else "(nothing)"


def described(clct: Collection, revision: Revision) -> str:
    document = clct.changelog.document(revision)
    return str(document["message"] or document["kind"])


def documents(clct: Collection) -> pl.DataFrame:
    """Who, when, what and how much. A merge has no author: whoever merges makes the same one."""
    found = {}
    for revision in clct.changelog.log():
        document = clct.changelog.document(revision)
        found[revision.child] = {
            "when (UTC)": f"{revision.time:%Y-%m-%d %H:%M:%S.%f}",
            "who": document["author"],
            "what": document["message"] or document["kind"],
            "series": document.get("series"),
            "rows": document.get("rows"),
        }
    return pl.DataFrame([found[child] for child in sorted(found)], infer_schema_length=None)


def farewell() -> None:
    python = Path(sys.executable)
    known = python.is_relative_to(Path.cwd())
    title("What next")
    say("The repos lie in {}: office and laptop.", FOLDER.absolute())
    say("Start {} here and type:", python.relative_to(Path.cwd()) if known else "python")
    print(f"""
    from lakota import Repo

    office = Repo("{FOLDER}/office")
    oslo = office / "weather" / "Oslo"
    oslo.df("2024-06-01", "2024-06-02")
    oslo.write({{"timestamp": ["2025-02-01"], "temperature": [-4.2], "wind": [1.0]}})
    office.push("{FOLDER}/laptop")
""")


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str, *values: Any) -> None:
    print(text.format(*values))


def code(line: str) -> None:
    print(f"    {line}")


def show(what: str, value: Any) -> None:
    print(f"\n{what}\n{value}" if isinstance(value, pl.DataFrame) else f"{what}  ->  {value}")


if __name__ == "__main__":
    main()
