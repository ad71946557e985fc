"""Every study of the list is whole: it runs by its name, has figures, options, and a page."""

import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from slm_lens.studies.catalogue import STUDIES, find_study
from slm_lens.views import study_figures as figures

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)
def test_a_study_is_whole(study):
    options = study.options_class()
    assert all((f.default, f.default_factory) != (MISSING, MISSING) for f in fields(options))
    assert options() == options()
    assert study.name in figures._FIGURES
    assert all((study.source, study.reproduced, study.chosen, study.controls, study.needs))
    assert any(c.isdigit() for c in study.cost), "a cost is a measured number"
    assert "\n" not in study.question


@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)
def test_its_page_is_in_the_docs(study):
    page = DOCS / "studies" / study.name / "README.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {study.question}\n")
    assert f"- Study `{study.name}`, with " in text
    assert study.source in text
    for word in ("home/", "root/", "tmp/"):
        assert f"/{word}" not in text
    pictures = [part.split(")")[0] for part in text.split("](")[1:] if ".png)" in part]
    assert pictures
    assert all((page.parent / p).is_file() for p in pictures)


def test_the_list_in_the_docs_is_that_of_the_command():
    rows = [
        f"| [`{s.name}`](studies/{s.name}/README.md) | {s.question} | {s.cost.rstrip('.')} | "
        f"{s.needs.rstrip('.')} |"
        for s in STUDIES
    ]
    table = "\n".join(["| study | asks | costs | needs |", "|---|---|---|---|", *rows])
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    assert f"<!-- studies -->\n{table}\n<!-- /studies -->" in text, table


def test_an_unknown_study():
    with pytest.raises(LookupError, match=r"got 'geometri', expected one of.*Is 'geometry' meant"):
        find_study("geometri")


def test_the_list_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, slm_lens.studies.catalogue; "
        "print(sorted({'torch', 'polars', 'transformer_lens'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
