"""docs/tables.md names every table, column and type, as real runs of each kind have them."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from pair_tables import ROWS, entries_of, write_table
from test_corpus_run import config_of, data  # noqa: F401 (a fixture)

from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.corpus.tables import COMMON, OF_KIND, SCHEMA_VERSION

PAGE = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
TABLES = [(kind, table) for kind, tables in OF_KIND.items() for table in (*tables, *COMMON)]


def columns_on_the_page(table: str) -> dict[str, str]:
    """Columns and types in the rows of the table; one type may stand for all of a row."""
    (section,) = re.findall(rf"^\*\*`{table}`\*\*(.*?)(?=^\*\*`|^## |\Z)", PAGE, re.M | re.S)
    found: dict[str, str] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            names, types = (cell.strip() for cell in line.split("|")[1:3])
            names, types = re.findall(r"`(\w+)`", names), types.split(", ")
            types = types * len(names) if len(types) == 1 else types
            assert not found.keys() & set(names), line
            found |= zip(names, types, strict=True)
    return found


@pytest.fixture(scope="module")
def folders(tiny_model, data, tmp_path_factory):  # noqa: F811
    """A finished run of each kind, with one item that cannot be used."""
    top = tmp_path_factory.mktemp("runs")
    broken = top / "broken.jsonl"
    broken.write_text(data.read_text() + '{"file_name": "none", "units": [], "aligned_text": []}\n')
    pairs = write_table(top / "pairs.csv", [*ROWS, dict(ROWS[0], name="odd", answer="?" * 9)])
    trials = top / "trials.parquet"
    sides = {"right": ["zebra bread", "bread", ""], "wrong": ["bread zebra", "zebra", "bread"]}
    pl.DataFrame(sides).write_parquet(trials)
    given: dict[str, dict[str, Any]] = {
        "score": {
            "model": {"name": "tiny"},
            "data": {"format": "parquet", "path": str(trials), "right_column": "right",
                     "wrong_column": "wrong"},
        },
        "patch": entries_of(pairs, top, "patch"),
        "trace": entries_of(pairs, top, "trace",
                            trace={"n_samples": 2, "unanswered": "keep", "repeated": "once"}),
    }  # fmt: skip
    configs = {"phases": config_of(broken, top / "phases"),
               "cache": config_of(broken, top / "cache", kind="cache", phases=None)}  # fmt: skip
    for kind, entries in given.items():
        configs[kind] = run_config(entries | {"kind": kind, "out": str(top / kind)})
    for config in configs.values():
        run_corpus(config, model=tiny_model)
    return top


def test_every_table_is_on_the_page():
    tables = {table for _, table in TABLES}
    assert set(re.findall(r"^\*\*`(\w+)`\*\*", PAGE, re.M)) == tables
    assert f"Schema version {SCHEMA_VERSION};" in PAGE


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_columns_and_types_are_those_of_the_files(folders, kind, table):
    files = sorted((folders / kind / table).glob("*.parquet"))
    assert files, "no row: nothing was compared"
    for file in files:
        schema = {name: str(dtype) for name, dtype in pl.read_parquet_schema(file).items()}
        assert schema == columns_on_the_page(table)
        assert pq.read_metadata(file).metadata[b"slm_lens.schema"] == str(SCHEMA_VERSION).encode()
