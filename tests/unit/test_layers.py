"""The house rules that can be read off the source: imports go down only, and files stay short."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "src" / "slm_lens"

# Floors of docs/architecture: a module imports its own floor and the ones below.
FLOORS = {
    "_atomic": 0,
    "_console": 0,
    "_json": 0,
    "_partition": 0,
    "_pictured": 0,
    "_typed_entries": 0,
    "_yaml": 0,
    "errors": 0,
    "speech": 1,
    "sequence": 1,
    "vocab": 1,
    "families": 2,
    "model": 2,
    "readout": 2,
    "features": 3,
    "geometry": 3,
    "interventions": 3,
    "lens": 3,
    "likelihood": 3,
    "phases": 3,
    "corpus": 4,
    "organism": 4,
    "studies": 4,
    "report": 5,
    "views": 5,
    "__main__": 6,
    "app": 6,
    "cli": 6,
    "__init__": 7,  # the package itself hands out names of every floor
}

MAX_LINES = 500
MAX_BODY_LINES = 60
# "file" or "file::function" -> why it may be longer.
LONG: dict[str, str] = {
    "__init__.py": "one list of names, for importing, for the type checker and as `__all__`",
}


def room_of(module: str) -> str:
    """Room of ``slm_lens.room.file``; the package itself for ``slm_lens``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported_rooms(tree: ast.Module, module: str) -> Iterator[tuple[int, str]]:
    """Line and room of every import of slm_lens, at any depth of the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            # `from slm_lens import load` reaches the package, `import errors` of it a room.
            names = [base]
            if base == "slm_lens":
                names = [
                    f"slm_lens.{a.name}" if a.name in FLOORS else "slm_lens" for a in node.names
                ]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "slm_lens":
                yield node.lineno, room_of(name)


def upward_imports(source: str, module: str) -> list[str]:
    room = room_of(module)
    return [
        f"{module}:{line} ({room}, floor {FLOORS[room]}) imports {target} (floor {FLOORS[target]})"
        for line, target in imported_rooms(ast.parse(source), module)
        if FLOORS[target] > FLOORS[room]
    ]


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = list(path.relative_to(ROOT.parent).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 2:
            parts.pop()
        found.append((".".join(parts), path))
    return found


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function after its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def too_long(source: str, name: str) -> dict[str, int]:
    lengths = {name: len(source.splitlines())} if len(source.splitlines()) > MAX_LINES else {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_lines = body_lines(node)
            if n_lines > MAX_BODY_LINES:
                lengths[f"{name}::{node.name}"] = n_lines
    return lengths


@pytest.mark.parametrize(("module", "path"), modules(), ids=[m for m, _ in modules()])
def test_imports_go_down_only(module, path):
    assert upward_imports(path.read_text(encoding="utf-8"), module) == []


def test_files_and_functions_are_short():
    lengths: dict[str, int] = {}
    for _, path in modules():
        name = path.relative_to(ROOT).as_posix()
        lengths |= too_long(path.read_text(encoding="utf-8"), name)
    assert set(lengths) == set(LONG), f"longer than the limits: {lengths}; listed: {sorted(LONG)}"
    assert all(LONG.values()), "each exception needs a reason"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("from slm_lens.views.chart import draw", "views"),
        ("import slm_lens.cli", "cli"),
        ("def f():\n    from slm_lens.phases import recall", "phases"),
        ("if TYPE_CHECKING:\n    from slm_lens.organism import train", "organism"),
        ("from slm_lens import load", "__init__"),
        ("from slm_lens import cli", "cli"),
        ("from ..views import chart", "views"),
    ],
)
def test_an_upward_import_is_seen(source, target):
    (message,) = upward_imports(source, "slm_lens.model.hooked")
    assert f"imports {target} " in message


@pytest.mark.parametrize(
    "source",
    [
        "from slm_lens.errors import VocabError",
        "from slm_lens import errors",
        "from . import load",
        "from .load import load",
        "from ..vocab import SpeechTextVocab",
        "import torch",
    ],
)
def test_a_downward_import_is_fine(source):
    assert upward_imports(source, "slm_lens.model.hooked") == []


def test_length_is_counted_without_the_docstring():
    body = "    x = 1\n" * MAX_BODY_LINES
    docstring = '    """\n' + "    word\n" * 30 + '    """\n'
    assert too_long(f"def f():\n{docstring}{body}", "a.py") == {}
    assert too_long(f"def f():\n{docstring}{body}    y = 2\n", "a.py") == {
        "a.py::f": MAX_BODY_LINES + 1
    }
    assert too_long("x = 1\n" * (MAX_LINES + 1), "a.py") == {"a.py": MAX_LINES + 1}


def test_files_of_tests_have_names_of_their_own():
    """pytest imports them by their bare names, so that one would hide another."""
    names = [path.name for path in (ROOT.parents[1] / "tests").rglob("*.py")]
    others = [n for n in names if n != "conftest.py"]
    assert len(others) == len(set(others))
