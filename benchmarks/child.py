"""Runs stages of one work in this process: `run.py` starts it.

The argument is JSON: library, work, stages (their numbers), folder, endpoint, sizes. What each
gave goes to the file `out` as a JSON list: metrics, or `{"missing": why}` where the library cannot
do it, which may end the work.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from kit import Sizes, Stage
from library import find
from works import WORKS, ends


def main() -> None:
    order = json.loads(sys.argv[1])
    found = []
    for number in order["stages"]:
        stage = WORKS[order["work"]][number]
        found.append(attempt(stage, order))
        if "missing" in found[-1] and ends(stage):
            break
    with open(order["out"], "w") as file:
        json.dump(found, file)


def attempt(stage: Stage, order: dict[str, Any]) -> dict[str, Any]:
    try:
        library = find(order["library"], order["folder"], order["endpoint"])
        return dict(stage(library, Sizes(**order["sizes"])))
    except NotImplementedError as missing:
        return {"missing": str(missing) or "no way to do that"}
    except Exception as error:
        traceback.print_exc()
        return {"missing": f"fails: {type(error).__name__}: {error}"[:200]}


if __name__ == "__main__":
    main()
