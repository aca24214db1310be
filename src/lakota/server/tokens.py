"""Tokens: who may do what with which repos. Only digests of tokens are kept, in a JSON file.

    {"tokens": [{"name": "laptop", "sha256": "<64 hex digits>", "scope": "write",
                 "repos": ["weather", "test-*"]}]}

A token is 256 random bits, so one round of SHA-256 hides it; a password would need more. The file
is read again when it changes, so a token that is removed is refused at once.
"""

from __future__ import annotations

import enum
import hmac
import json
import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from ..errors import AlreadyExistsError, InputError, NotFoundError, StoreError

__all__ = ["Grant", "Scope", "TokenFile", "add_token", "list_tokens", "remove_token"]


class Scope(enum.IntEnum):
    """What a token is good for. Each includes those before it."""

    READ = 1
    """Read, query and pull."""
    WRITE = 2
    """Add: objects and revisions, each verified. Takes nothing away and deletes no collection."""
    ADMIN = 3
    """Delete, also collections; collect, trim, and write files that are not of the format."""

    @classmethod
    def of(cls, text: object) -> Scope:
        """The scope of that name. Raises `InputError`."""
        known = {scope.name.lower(): scope for scope in cls}
        if not isinstance(text, str) or text not in known:
            raise InputError(f"scope {text!r}: expected one of {', '.join(known)}")
        return known[text]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows."""

    name: str
    scope: Scope
    repos: tuple[str, ...]
    """Names of repos, or patterns (`*`, `?`, `[abc]`); the repo at `/` has the name ""."""

    def allows(self, repo: str, scope: Scope) -> bool:
        """Whether this much of that repo."""
        return self.scope >= scope and any(fnmatchcase(repo, pattern) for pattern in self.repos)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    sha256: str
    scope: str
    repos: tuple[str, ...]


class TokenFile:
    """The tokens of a file, as it is now. Raises `InputError` if it cannot be used."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._grants: list[tuple[bytes, Grant]] = []
        _load(self.path)

    def grant(self, token: str) -> Grant | None:
        """What a token allows; None if it is none. Takes as long whichever it is."""
        self._refresh()
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found

    def _refresh(self) -> None:
        with self._lock:
            try:
                status = os.stat(self.path)
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    self._grants = [
                        (bytes.fromhex(e.sha256), Grant(e.name, Scope.of(e.scope), e.repos))
                        for e in _load(self.path)
                    ]
                    self._seen = seen
            except (OSError, InputError) as error:
                self._grants, self._seen = [], None
                raise StoreError(f"the file of tokens {self.path} cannot be read: {error}") from (
                    error
                )


def add_token(
    path: str | os.PathLike[str], name: str, *, scope: str = "read", repos: Sequence[str] = ("*",)
) -> str:
    """Make a token and keep its digest in the file at `path`, which need not exist yet. Returns
    the token: it is shown nowhere else.

    `name`: to tell tokens apart. `scope`: `"read"`, `"write"` or `"admin"`. `repos`: names or
    patterns. Raises `InputError`, `AlreadyExistsError` for a name that is taken, and `StoreError`
    where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     token = add_token(f"{folder}/tokens.json", "laptop", scope="write", repos=["weather"])
    ...     list_tokens(f"{folder}/tokens.json")[0].allows("weather", Scope.WRITE)
    True
    """
    entries = _load(path) if os.path.exists(path) else []
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"a token named {name!r}: expected some text to tell it by")
    if any(entry.name == name for entry in entries):
        raise AlreadyExistsError(f"there is a token named {name!r}: choose another, or remove it")
    if isinstance(repos, str) or not repos or not all(isinstance(repo, str) for repo in repos):
        raise InputError(f"repos={repos!r}: expected a list of names or patterns")
    scope = Scope.of(scope).name.lower()
    token = f"lak_{secrets.token_urlsafe(32)}"
    entry = _Entry(name, sha256(token.encode()).hexdigest(), scope, tuple(repos))
    _save(path, [*entries, entry])
    return token


def remove_token(path: str | os.PathLike[str], name: str) -> None:
    """Take a token away. Raises `NotFoundError`, `InputError`, `StoreError`."""
    entries = _load(path)
    if not any(entry.name == name for entry in entries):
        known = ", ".join(repr(entry.name) for entry in entries) or "none"
        raise NotFoundError(f"no token named {name!r}; there is: {known}")
    _save(path, [entry for entry in entries if entry.name != name])


def list_tokens(path: str | os.PathLike[str]) -> list[Grant]:
    """What each token of a file allows."""
    return [Grant(e.name, Scope.of(e.scope), e.repos) for e in _load(path)]


def _load(path: str | os.PathLike[str]) -> list[_Entry]:
    try:
        with open(path, encoding="utf-8") as file:
            return [_entry(found) for found in json.load(file)["tokens"]]
    except FileNotFoundError as error:
        raise InputError(f"there is no file of tokens at {os.fspath(path)}") from error
    except OSError as error:
        raise InputError(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{os.fspath(path)} is no file of tokens: {error}") from error


def _entry(found: Any) -> _Entry:
    entry = _Entry(found["name"], found["sha256"], found["scope"], tuple(found["repos"]))
    Scope.of(entry.scope)
    texts = [entry.name, entry.sha256, *entry.repos]
    if not all(isinstance(text, str) for text in texts) or isinstance(found["repos"], str):
        raise InputError(f"token {entry.name!r} has a field that is no text")
    if len(bytes.fromhex(entry.sha256)) != sha256().digest_size:
        raise InputError(f"token {entry.name!r} has no SHA-256 of 64 hex digits")
    return entry


def _save(path: str | os.PathLike[str], entries: Sequence[_Entry]) -> None:
    """Replace the file, which only its owner can read."""
    temporary = f"{os.fspath(path)}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"tokens": [asdict(entry) for entry in entries]}, file, indent=2)
            file.write("\n")
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise StoreError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
