"""Tables and lines for people and for scripts."""

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table

from slm_lens._console import make_console, shown_steps, step_progress

CELL = "one two three four five six seven eight nine ten"
LINE = "/a/path/that is longer than/[bold]forty/:smile:/columns and must stay whole"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(monkeypatch, out, columns):
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    table = Table("words")
    table.add_row(CELL)
    console = make_console()
    console.print(table)
    console.print(LINE, soft_wrap=True)
    console.print(LINE)
    return out.getvalue()


@pytest.mark.parametrize("columns", [20, 40, 500])
def test_nothing_is_wrapped_away_from_a_terminal(monkeypatch, columns):
    text = printed(monkeypatch, io.StringIO(), columns)
    assert f"│ {CELL} │" in text
    assert text.splitlines()[-2:] == [LINE, LINE]


def test_on_a_terminal_all_but_whole_lines_fit_its_width(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[\d;]*m", "", printed(monkeypatch, Terminal(), 40))
    table, wrapped = text.split(f"{LINE}\n")
    assert CELL not in table
    assert max(map(len, table.splitlines())) == 40
    assert len(wrapped.splitlines()) > 1
    assert max(map(len, wrapped.splitlines())) <= 40
    assert "".join(wrapped.split()) == "".join(LINE.split())


@pytest.mark.parametrize(("out", "shown", "seen"), [
    (Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False),
])  # fmt: skip
def test_a_progress_bar_is_for_terminals_and_can_be_off(monkeypatch, out, shown, seen):
    stream = out()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with step_progress("fitting", 7, shown=shown) as show:
        show(3, "KL 0.500")
    assert ("3/7 KL 0.500" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.getvalue())) == seen
    assert bool(stream.getvalue().strip()) == seen


def test_steps_are_named_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    items: list[Any] = [SimpleNamespace(name="zebra"), SimpleNamespace(name="tiger")]
    with shown_steps(items, "reading", shown=True) as each:
        assert [next(each), next(each)] == items
    seen = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.getvalue())
    assert "1/2 tiger" in seen
    with shown_steps(items, "reading", shown=False) as each:
        assert list(each) == items
