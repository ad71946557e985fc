"""How a run loads its model: what the configuration says reaches `slm_lens.load`."""

import polars as pl
import pytest
from short_clips import write_clips

import slm_lens
from slm_lens.corpus.run_config import run_config


@pytest.mark.slow
def test_a_model_that_is_placed_by_a_device_map_runs_through_its_bridge(tmp_path):
    (tmp_path / "clips").mkdir()
    write_clips(tmp_path / "clips", 3)

    def run(out, **model):
        entries = {
            "model": {"name": "organism", **model},
            "data": {"format": "folder", "path": str(tmp_path / "clips")},
            "out": str(tmp_path / out),
            "phases": {"n_draws": 2},
        }
        return slm_lens.run_corpus(run_config(entries)).word_lens()

    mapped = run("mapped", device_map="auto", max_memory={"cpu": "4GiB"})
    plain = run("plain")
    assert (mapped.provenance.dtype, plain.provenance.forward) == ("float32", "fast")
    assert mapped.table["word"].equals(plain.table["word"])
    both = pl.DataFrame({"a": mapped.table["text_mass"], "b": plain.table["text_mass"]})
    difference = both.select((pl.col("a") - pl.col("b")).abs().max()).item()
    assert difference < 1e-5
    half = run("half", dtype="bfloat16")
    assert half.provenance.dtype == "bfloat16"
