"""Runs one stage of one work in this process: `run.py` starts it.

The argument is JSON: library, work, stage (a number), folder, sizes. The metrics go to the file
`out` as JSON, or `{"missing": why}` where the library cannot do it.
"""

from __future__ import annotations

import json
import sys

from library import find
from works import WORKS, Sizes


def main() -> None:
    order = json.loads(sys.argv[1])
    stage = WORKS[order["work"]][order["stage"]]
    try:
        found = stage(find(order["library"], order["folder"]), Sizes(**order["sizes"]))
    except NotImplementedError:
        found = {"missing": "no way to do that"}
    with open(order["out"], "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
