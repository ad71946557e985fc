"""What commands print: for people on a terminal, for scripts everywhere else."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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


@contextmanager
def step_progress(name: str, n_steps: int, *, shown: bool) -> Iterator[Callable[[int, str], None]]:
    """A progress bar, on a terminal only.

    Args:
        name: of the work, before the bar.
        n_steps: steps of the whole work.
        shown: False for no bar on a terminal either.

    Yields:
        Shows how many steps are done, and a note such as the loss.
    """
    console = make_console()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(name, total=n_steps, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Item = TypeVar("_Item", bound=_Named)


@contextmanager
def shown_steps(items: Sequence[_Item], name: str, *, shown: bool) -> Iterator[Iterator[_Item]]:
    """A progress bar over runs or pairs that says which one is at work, on a terminal only.

    Args:
        items: what is worked through, each with a name.
        name: of the work, before the bar.
        shown: False for no bar on a terminal either.

    Yields:
        The items.
    """
    with step_progress(name, len(items), shown=shown) as show:

        def each() -> Iterator[_Item]:
            for done, item in enumerate(items):
                show(done, item.name)
                yield item
            show(len(items), "")

        yield each()
