"""What commands print: for people on a terminal, for scripts everywhere else."""

import sys

from rich.console import Console

_AS_WIDE_AS_NEEDED = 100_000


def make_console() -> Console:
    """A console for the standard output of this moment.

    On a terminal, tables and sentences fit its width. Anywhere else (a pipe, a file) nothing is
    wrapped, whatever ``COLUMNS`` says: a row of a table and a sentence are one line each. Print
    what must be one line on a terminal too, such as a path, with ``soft_wrap=True``. Square
    brackets and colons are printed as they are: words and paths may hold them.

    Returns:
        The console.
    """
    width = None if sys.stdout.isatty() else _AS_WIDE_AS_NEEDED
    return Console(width=width, markup=False, emoji=False, highlight=False)
