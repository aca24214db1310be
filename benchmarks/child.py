"""Runs one stage of one work in this process: `run.py` starts it.

The argument is JSON: library, work, stage (a number), folder, endpoint, sizes. The metrics go to
the file `out` as JSON, or `{"missing": why}` where the library cannot do it.
"""

from __future__ import annotations

import json
import sys

from kit import Sizes
from library import find
from works import WORKS


def main() -> None:
    order = json.loads(sys.argv[1])
    stage = WORKS[order["work"]][order["stage"]]
    try:
        library = find(order["library"], order["folder"], order["endpoint"])
        found = stage(library, Sizes(**order["sizes"]))
    except NotImplementedError as missing:
        found = {"missing": str(missing) or "no way to do that"}
    with open(order["out"], "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
