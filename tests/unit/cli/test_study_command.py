"""``slm-lens study``: the list, options, refusals before anything is loaded, and a run."""

import json
import re

import pytest
from typer.testing import CliRunner

from slm_lens.cli.main import app
from slm_lens.studies.catalogue import STUDIES


def study(*arguments):
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


def test_list_and_options():
    listed = study("--list")
    assert listed.exit_code == 0
    for one in STUDIES:
        assert f"{one.name}: {one.question}" in listed.output
        assert f"cost: {one.cost}; needs: {one.needs}" in listed.output
    shown = study("grid", "--show-options")
    assert "k=5  (int)" in shown.output
    assert "data='held-out'  (str)" in shown.output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["grids"], LookupError, r"got 'grids', expected one of.*Is 'grid' meant"),
        (["grid", "--set", "kk=3"], ValueError, r"unknown entries \['kk'\].*Is \['k'\] meant"),
        (["grid", "--set", "k=many"], ValueError, r"k is 'many', expected int"),
        (["grid", "--set", "k=0"], ValueError, r"got k=0"),
        (["grid", "--model", "organism"], LookupError, r"no card\.json that names its cell"),
    ],
)
def test_refusals(arguments, error, message, tmp_path):
    result = study(*arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, error)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["grid", "--set", "k"], ["grid", "--set", "k=1", "--set", "k=2"]]
)
def test_wrong_usage(arguments):
    result = study(*arguments)
    assert result.exit_code == 2
    assert "expected" in result.output


@pytest.mark.slow
def test_a_run_writes_page_figure_and_tables(tmp_path):
    chosen = ["--model", "grid-text-interleaved", "--model", "grid-random-interleaved"]
    less = ["--set", "facts=false", "--set", "n_bootstrap=200", "--set", "n_draws=5"]
    result = study("grid", *chosen, *less, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"Wrote {tmp_path}/README.md" in result.output.replace("\n", "")
    assert {p.name for p in tmp_path.iterdir()} == {
        "README.md", "study.json", "grid.png", "grid.svg", "runs.parquet", "cells.parquet",
        "contrasts.parquet",
    }  # fmt: skip
    settings = json.loads((tmp_path / "study.json").read_text())["settings"]
    assert (settings["facts"], settings["n_draws"], settings["k"]) == (False, 5, 5)
