"""What every verb has: the options that all take, where output goes, errors and exit codes.

Data goes to stdout, everything else to stderr. A verb is a function of a `Shell` and of its own
options; `verb` adds those that all take, and turns errors into one line and an exit code.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import lakota

from ..errors import (
    ClockError,
    ConflictError,
    DamagedError,
    FormatError,
    InputError,
    LakotaError,
    MissingExtraError,
    NotFoundError,
    ObjectMissingError,
)

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from ..repo import Repo

__all__ = [
    "DAMAGED",
    "DIFFERENT",
    "Shell",
    "exit_code",
    "fail",
    "listing",
    "many",
    "pairs",
    "report",
    "safe",
    "verb",
]

DONE, DIFFERENT, WRONG, MISSING, DAMAGED, FAILED = range(6)
"""Exit codes. `FAILED`: the store failed, or the program."""
INTERRUPTED = 130
DEFAULT = ".lakota"

Form = Literal["table", "plain", "json"]


_BEHIND = ("s3://", "gs://", "az://", "http://", "https://")


def _without(how: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in how.items() if name != "storage_options"}


@dataclass(frozen=True)
class Shell:
    """The options that all verbs take."""

    repos: tuple[str, ...] = ()
    json: bool = False
    pretty: bool = False
    quiet: bool = False
    verbose: bool = False
    timing: bool = False
    how: Mapping[str, Any] = field(default_factory=dict)
    """How the repo is opened: `codec`, `durability`, `max_ahead`, `storage_options`."""

    def __or__(self, other: Shell) -> Shell:
        """These options, and those given after the verb."""
        flags = ("json", "pretty", "quiet", "verbose", "timing")
        both = {name: getattr(self, name) or getattr(other, name) for name in flags}
        return replace(other, repos=other.repos or self.repos, how=self.how, **both)

    # ---- The repo

    @property
    def uri(self) -> str | list[str]:
        """What `-r` says, or `LAKOTA_REPO`, or the nearest `.lakota` of this folder and those
        above."""
        if len(self.repos) > 1:
            return list(self.repos)
        if self.repos:
            return self.repos[0]
        return os.environ.get("LAKOTA_REPO") or _nearest()

    @cached_property
    def place(self) -> Repo:
        """The repo, which need not be there yet."""
        return lakota.Repo(self.uri, **self.how_at(self.uri, own=True))

    def how_at(self, uri: str | list[str], *, own: bool = False) -> dict[str, Any]:
        """How to open a place: one of our `own` as was asked for, a remote as it comes; the
        storage options are for what is behind a URL, here or there."""
        last = uri if isinstance(uri, str) else uri[-1]
        behind = last.lower().startswith(_BEHIND)
        how = dict(self.how) if own else {}
        options = self.how.get("storage_options")
        return {**how, "storage_options": options} if options and behind else _without(how)

    @cached_property
    def repo(self) -> Repo:
        """The repo; raises `NotFoundError` if it is not there."""
        if not self.place.exists():
            raise NotFoundError(
                f"no repo in {self.uri}: make one with `lakota init`, or name another with -r or "
                "LAKOTA_REPO"
            )
        return self.place

    # ---- Output

    @property
    def form(self) -> Form:
        """How frames are shown: JSON if asked for, a table on a terminal, plain when piped."""
        if self.json:
            return "json"
        return "table" if self.pretty or sys.stdout.isatty() else "plain"

    def say(self, text: str) -> None:
        """Tell the user what happened."""
        if not self.quiet:
            print(safe(text), file=sys.stderr)

    def done(self, text: str, **facts: Any) -> None:
        """Tell what was done; with `--json` as an object on stdout."""
        if self.json:
            print(json.dumps(facts, ensure_ascii=False, default=str))
        else:
            self.say(text)

    def done_all(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Tell of several things as they are done; with `--json` in one list."""
        facts = []
        for result in results:
            own = dict(result)
            text = str(own.pop("text"))
            facts.append(own)
            if not self.json:
                self.say(text)
        if self.json:
            print(json.dumps(facts, ensure_ascii=False, default=str))

    def names(self, names: Iterable[str]) -> None:
        """Print names, one a line. A name that a terminal might take for something else, or that
        has several lines, is printed as JSON."""
        if self.json:
            print(json.dumps(list(names), ensure_ascii=False))
            return
        for name in names:
            print(name if name.isprintable() else json.dumps(name))

    def frame(self, frame: pl.DataFrame) -> None:
        """Print a frame."""
        from .formats import show

        show(frame, self.form)

    def console(self) -> Console:
        """Where text in colours goes; plain if it is no terminal, or if `NO_COLOR` is set."""
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)

    def record(self, facts: Mapping[str, Any]) -> None:
        """Print facts by name."""
        if self.json:
            print(json.dumps(dict(facts), ensure_ascii=False, default=str))
            return
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"{name:{width}}  {safe(text)}")


def _nearest() -> str:
    """The `.lakota` of this folder or of the nearest one above that has one."""
    here = Path.cwd()
    found = (folder / DEFAULT for folder in (here, *here.parents))
    return next((os.path.relpath(path) for path in found if path.is_dir()), DEFAULT)


def safe(text: str) -> str:
    """Text without characters that steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


# ---- Verbs

Repos = Annotated[
    list[str] | None,
    typer.Option(
        "--repo",
        "-r",
        help="The repo: a folder or a URI. Several: caches before the store.",
        envvar=None,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Pretty = Annotated[bool, typer.Option("--pretty", "-P", help="Print tables even when piped.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show where errors come from.")]
Timing = Annotated[bool, typer.Option("--timing", help="Say how long it took.")]

COMMON: Mapping[str, tuple[Any, Any]] = {
    "repo": (Repos, None),
    "json": (Json, False),
    "pretty": (Pretty, False),
    "quiet": (Quiet, False),
    "verbose": (Verbose, False),
    "timing": (Timing, False),
}


def shell_of(given: dict[str, Any]) -> Shell:
    """A shell from the options that all verbs take, which are taken out of `given`."""
    own = {name: given.pop(name) for name in COMMON}
    return Shell(tuple(own.pop("repo") or ()), **own)


def common() -> list[inspect.Parameter]:
    """The options that all verbs take, as parameters of a function."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in COMMON.items()
    ]


def verb(act: Callable[..., int | None]) -> Callable[..., None]:
    """A function of a `Shell` and of options as typer takes it. What it returns is the exit code,
    None for 0."""
    signature = inspect.signature(act, eval_str=True)
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    own = list(signature.parameters.values())[1:]

    @wraps(act)
    def run(context: typer.Context, **given: Any) -> None:
        before = context.find_object(Shell) or Shell()
        code = attempt(before | shell_of(given), act, given)
        if code:
            raise typer.Exit(code)

    parameters = [context, *own, *common()]
    vars(run)["__signature__"] = signature.replace(
        parameters=sorted(parameters, key=lambda p: p.kind), return_annotation=None
    )
    return run


def attempt(shell: Shell, act: Callable[..., int | None], given: Mapping[str, Any]) -> int:
    """Run a verb; returns its exit code."""
    begin = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(warn, shell)
            code = act(shell, **given) or DONE
        sys.stdout.flush()
    except KeyboardInterrupt:
        fail("interrupted; what was not finished left nothing behind")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away, as `head` does; let nothing be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except typer.Exit as exit:
        return exit.exit_code
    except Exception as error:
        return report(error, shell.verbose)
    if shell.timing:
        shell.say(f"{(time.perf_counter() - begin) * 1000:.0f} ms")
    return code


def warn(shell: Shell, message: Warning | str, *where: Any, **more: Any) -> None:
    """Print a warning, in one line."""
    shell.say(f"warning: {' '.join(str(message).split())}")


def report(error: Exception, verbose: bool) -> int:
    """Print an error in one line; returns the exit code."""
    if verbose:
        traceback.print_exception(error)
    if isinstance(error, LakotaError) or hasattr(error, "format_message"):
        text = error.format_message() if hasattr(error, "format_message") else str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error}" + ("" if verbose else "; -v shows where")
    fail(text)
    return exit_code(error)


def exit_code(error: Exception) -> int:
    """What a kind of error is to a script."""
    if isinstance(error, ConflictError):
        return DIFFERENT
    if isinstance(error, (DamagedError, ObjectMissingError)):
        return DAMAGED
    if isinstance(error, (NotFoundError, FileNotFoundError)):
        return MISSING
    refused = (InputError, ClockError, FormatError, MissingExtraError)
    usage = (*refused, IsADirectoryError, NotADirectoryError)
    if isinstance(error, usage) or hasattr(error, "format_message"):
        return WRONG
    return FAILED


def fail(text: str) -> None:
    """Print an error, in one line."""
    print(f"lakota: {safe(' '.join(text.split()))}", file=sys.stderr)


def pairs(given: Iterable[str]) -> dict[str, str]:
    """What `KEY=VALUE` says, several times.

    >>> pairs(["a=b", "c=d=e"])
    {'a': 'b', 'c': 'd=e'}
    """
    split = {text: text.partition("=") for text in given}
    for text, (key, sign, _) in split.items():
        if not key or not sign:
            raise typer.BadParameter(f"{text!r}: expected KEY=VALUE")
    return {key: value for key, _, value in split.values()}


def many(count: int, what: str) -> str:
    """A number of things.

    >>> many(1, "row"), many(2, "row")
    ('1 row', '2 rows')
    """
    return f"{count} {what}{'s' * (count != 1)}"


def listing(names: Iterable[str], most: int = 10) -> str:
    """Some names, for a message."""
    names = list(names)
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown}, ..." if len(names) > most else shown or "none"
