"""How the command line talks: data to stdout, everything else to stderr, one sentence per error."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from spikeloop.simulator.errors import SpikeloopError

_DEBUG_VARIABLE = "SPIKELOOP_DEBUG"


def say(message: str) -> None:
    """A line for people, on stderr."""
    print(message, file=sys.stderr, flush=True)


def emit(text: str) -> None:
    """A line of data, on stdout."""
    print(text, flush=True)


def emit_json(value: Any) -> None:
    """One JSON object on stdout; floats keep every digit, NaN is refused."""
    emit(json.dumps(value, indent=2, allow_nan=False))


def emit_wrapped(text: str, *, indent: int = 0, hang: int = 0) -> None:
    """Text in lines no longer than the terminal is wide; all but the first are set in by ``hang`` more blanks."""
    pad = " " * indent
    lines = textwrap.wrap(
        text,
        terminal_width(),
        initial_indent=pad,
        subsequent_indent=pad + " " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    emit("\n".join(lines))


def terminal_width() -> int:
    """Columns of the terminal, 100 where there is none; never so few or so many that text is hard to read."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 140)


def emit_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns aligned with blanks: text left, numbers right (a column is of numbers if every cell starts so)."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *body]) for i in range(len(header))]
    right = [all(_is_number(row[i]) for row in body) for i in range(len(header))]
    for line in [list(header), *body]:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        emit("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.lstrip(" +-<")[:1].isdigit()


def debug_wanted() -> bool:
    """Whether the user asked for tracebacks, by ``--debug`` or the environment variable SPIKELOOP_DEBUG."""
    return os.environ.get(_DEBUG_VARIABLE, "") not in ("", "0")


def configure_logging(*, verbose: bool, debug: bool) -> None:
    """The only place where logging is set up: warnings and above to stderr, more on request."""
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
    # Drawing and compiling libraries fill a debug log with thousands of lines of their own.
    for name in ("matplotlib", "numba", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)


def sentence(error: BaseException) -> str:
    """An error's text on one line, or its type where it has none.

    Spikeloop's own sentences quote names from files: their control characters are shown, not sent to a terminal.
    """
    text = str(error).strip()
    if isinstance(error, SpikeloopError | OSError):
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    lines = text.splitlines()
    return lines[0] if lines else type(error).__name__
