"""docs/tables.md names every table and column."""

import re
from pathlib import Path

import pytest
from test_corpus_run import data, one_go  # noqa: F401 (fixtures)

from slm_lens.corpus.kinds.cache import SCHEMA as POSITIONS
from slm_lens.corpus.tables import ENGINES, ERRORS, ITEMS, OF_KIND, SCHEMA_VERSION
from slm_lens.interventions.patching.patching_result import SCHEMA as PATCHING
from slm_lens.interventions.tracing.tracing_result import PROMPTS
from slm_lens.interventions.tracing.tracing_result import SCHEMA as TRACING
from slm_lens.likelihood.trial_scores import SCHEMA as SCORES

PAGE = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
SCHEMAS = {"errors": ERRORS, "items": ITEMS, "scores": SCORES, "patching": PATCHING,
           "tracing": TRACING, "prompts": PROMPTS, "engines": ENGINES,
           "positions": POSITIONS}  # fmt: skip


def columns_on_the_page(table):
    """Names in the first cells of the table's rows."""
    (section,) = re.findall(rf"^\*\*`{table}`\*\*(.*?)(?=^\*\*`|^## |\Z)", PAGE, re.M | re.S)
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_every_table_is_on_the_page():
    tables = {t for tables in OF_KIND.values() for t in tables} | {"errors", "items"}
    assert tables == {*SCHEMAS, "words"}
    assert f"Schema version {SCHEMA_VERSION};" in PAGE


@pytest.mark.parametrize("table", SCHEMAS)
def test_its_columns_are_those_of_the_schema(table):
    assert sorted(columns_on_the_page(table)) == sorted(SCHEMAS[table])


def test_the_columns_of_words_are_those_of_a_word_table(one_go):  # noqa: F811
    assert sorted(columns_on_the_page("words")) == sorted(one_go.table.columns)
