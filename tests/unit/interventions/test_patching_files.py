"""A sweep as files."""

import json
from dataclasses import replace

import polars as pl
import pytest

from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.model.provenance import Provenance

PROVENANCE = Provenance(
    "tiny", "by hand", "Qwen2", "float32", "eager", None, False, False, None, hooks=("a",)
)
ROWS = [
    ("a", "z", 1, 0, 1, "fox", "changed", 5, "kl", 0.0, 1.0, 0.25),
    ("a", "z", 1, None, 2, "<end>", "end", None, "next", None, 1.0, 0.5),
]


@pytest.fixture
def patching():
    table = pl.DataFrame(ROWS, schema=SCHEMA, orient="row")
    return Patching(table, "noising", "words", "warp", "resumed", PROVENANCE)


def test_what_is_read_is_what_was_written(tmp_path, patching):
    patching.write(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "patching.json",
        "patching.parquet",
    ]
    again = Patching.read(tmp_path / "new")
    assert again.table.equals(patching.table)
    assert again.table.schema == patching.table.schema
    assert again.provenance == PROVENANCE
    for name in ("direction", "at", "fit", "engine"):
        assert getattr(again, name) == getattr(patching, name)


def test_refused(tmp_path, patching):
    with pytest.raises(ValueError, match=r"Patching.write: got a result without provenance"):
        replace(patching, provenance=None).write(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(LookupError, match=r"Patching.read: no patching.json"):
        Patching.read(tmp_path)
    patching.write(tmp_path)
    facts = json.loads((tmp_path / "patching.json").read_text())
    del facts["direction"]
    (tmp_path / "patching.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"Patching.read: .* lacks \['direction'\]"):
        Patching.read(tmp_path)
