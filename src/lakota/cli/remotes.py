"""Names for other repos, kept beside a repo: `.remotes.json` in its folder.

```
{"origin": "s3://bucket/weather"}
```

It belongs to this copy, not to the repo: it begins with a dot, so no store lists it, no server
shows it and no pull copies it. Only the owner may read it, since a URI may carry a token.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import lakota

from ..errors import DamagedError, InputError, NotFoundError
from .shell import Shell

if TYPE_CHECKING:
    from ..repo import Repo

__all__ = ["NAME", "absolute", "has_place", "known", "opened", "save", "there", "uri_of"]

FILE = ".remotes.json"
NAME = re.compile(r"[\w][\w.-]*")
DEFAULT = "origin"


def known(shell: Shell) -> dict[str, str]:
    """The remotes of this repo: URI by name."""
    file = _file(shell.place)
    if file is None or not file.exists():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
        return {str(name): str(uri) for name, uri in found.items()}
    except (ValueError, AttributeError) as error:
        raise DamagedError(f"{file} is no list of remotes: {error}; mend or remove it") from error


def save(shell: Shell, remotes: Mapping[str, str]) -> None:
    """Keep the remotes of this repo. Raises `InputError` if it is in no folder."""
    file = _file(shell.place)
    if file is None:
        raise InputError(f"{shell.uri} is not a folder: remotes are kept for repos in folders only")
    beside = file.with_name(f"{FILE}.{os.getpid()}")
    with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        json.dump(dict(sorted(remotes.items())), out, indent=2)
        out.write("\n")
    beside.replace(file)


def uri_of(shell: Shell, name: str | None) -> str:
    """The URI that a user means by the name of a remote or by a URI; None is `origin`, or the
    only one there is."""
    remotes = known(shell)
    if name is None:
        name = DEFAULT if DEFAULT in remotes or len(remotes) != 1 else next(iter(remotes))
        if name not in remotes:
            raise NotFoundError(
                f"which remote? expected a name or a URI; there are: {', '.join(remotes) or 'none'}"
                "; `lakota remote add origin URI` makes one the default"
            )
    if name in remotes:
        return remotes[name]
    close = difflib.get_close_matches(name, remotes, 1)
    if close and not Path(name).exists():
        raise NotFoundError(
            f"no remote {name!r}: did you mean {close[0]!r}? ./{name} is a folder of that name"
        )
    return name


def opened(shell: Shell, name: str | None, *, new: bool = False) -> Repo:
    """The repo that a user means; with `new` it need not be there yet."""
    uri = uri_of(shell, name)
    return lakota.Repo(uri, **shell.how_at(uri)) if new else there(shell, uri)


def there(shell: Shell, uri: str) -> Repo:
    """The repo at a URI. Raises `NotFoundError` if there is none."""
    repo = lakota.Repo(uri, **shell.how_at(uri))
    if not repo.exists():
        raise NotFoundError(f"no repo in {uri}")
    return repo


def absolute(uri: str) -> str:
    """A URI that means the same from every folder."""
    return uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))


def has_place(repo: Repo) -> bool:
    """Whether remotes can be kept beside it: whether it is in a folder."""
    return _file(repo) is not None


def _file(repo: Repo) -> Path | None:
    root = getattr(repo.store, "root", None)
    return None if root is None else Path(root) / FILE
