"""The pages are true where a machine can tell: code runs, links lead somewhere, errors exist.

Every fenced block whose info string is ``python`` runs, those of a page one after the other in one
namespace. ``python no-run`` exempts a block, and the page says why. A README without blocks passes.
"""

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest
from embedded_hf import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"", "bash", "python", "python no-run", "text", "json", "toml", "yaml"}


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """First line, info string and code of every fenced block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, m.start()) + 2, m["info"].strip(), m["code"])
        for m in FENCE.finditer(text)
    ]


def run_page(page: Path, folder: Path) -> int:
    """Run the page's blocks in one namespace, in `folder`; how many ran."""
    names: dict[str, Any] = {"__name__": "__main__"}
    n_run = 0
    before = Path.cwd()
    os.chdir(folder)
    try:
        for line, info, code in blocks(page):
            if info == "python":
                padded = "\n" * (line - 1) + code  # so that a traceback has the page's lines
                exec(compile(padded, str(page), "exec"), names)  # the repository's own pages
                n_run += 1
    finally:
        os.chdir(before)
    return n_run


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_the_python_on_a_page_runs(page, tmp_path):
    wanted = sum(info == "python" for _, info, _ in blocks(page))
    assert run_page(page, tmp_path) == wanted


def test_a_block_that_fails_fails_with_its_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n```python no-run\n1 / 0\n```\n", "utf-8")
    assert run_page(page, tmp_path) == 1
    page.write_text("# Page\n\n```python\nx = 1\n\n1 / (x - 1)\n```\n", "utf-8")
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(page, tmp_path)
    assert caught.traceback[-1].lineno + 1 == 6


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_every_block_says_what_it_is(page):
    assert {info for _, info, _ in blocks(page)} <= KNOWN
    for line, info, code in blocks(page):
        if info.startswith("python"):
            compile(code, f"{page.name}:{line}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def messages() -> str:
    """Text of every string in the package, ``{...}`` parts as a blank, in one line."""
    texts = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else " " for v in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_the_errors_page_quotes_messages_that_exist():
    known = messages()
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = [r.split("|")[1] for r in page.splitlines() if r.startswith("| `") and r.count("|") == 5]
    assert len(rows) > 20
    for quoted in re.findall(r"`([^`]+)`", "".join(f"{row}\n" for row in rows)):
        for part in quoted.split("..."):
            # A message that starts with `where` has its function's name in another string.
            for piece in re.split(r"(?<=:) ", part.strip()):
                assert piece.strip() in known, (quoted, piece)


def test_skips_are_listed_with_their_reason():
    pattern = re.compile(r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b")
    found = {
        path.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__) and pattern.search(path.read_text(encoding="utf-8"))
    }
    table = (ROOT / "tests" / "SKIPS.md").read_text(encoding="utf-8").splitlines()
    rows = [[c.strip(" `") for c in line.strip("|").split("|")] for line in table if "|" in line]
    listed = [row for row in rows if row[0].endswith(".py")]
    assert {row[0] for row in listed} == found
    assert all(row[2] for row in listed), "each skip needs a reason"
