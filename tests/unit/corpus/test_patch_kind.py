"""Runs of the kind ``patch``: the rows of `patch_pairs`, and what one pair may break."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pair_tables import ROWS, entries_of, row, same, write_table
from short_clips import write_clips

from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.pair_results import patching_of
from slm_lens.corpus.pairs import read_pairs
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError
from slm_lens.interventions.metrics import answer_rank, log_prob, logit_difference, modality_mass
from slm_lens.interventions.patching.patch_pairs import patch_pairs

METRICS = {"metrics": ["logit_difference", "rank"]}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "pairs.csv", ROWS)


def config_of(table, out, options=METRICS, **changes):
    return run_config(entries_of(table, out, "patch", patch=options, **changes))


def in_one_go(model, table, kind: Any = "resid_pre", **options):
    options = {"metrics": [logit_difference(), answer_rank()], "progress": False} | options
    return patch_pairs(model, read_pairs(model, table), kind, **options)


@pytest.mark.parametrize("items_per_shard", [1, 4, 100])
def test_every_bit_is_that_of_one_go(tiny_model, table, tmp_path, items_per_shard):
    config = config_of(table, tmp_path, items_per_shard=items_per_shard)
    assert same(run_corpus(config, model=tiny_model).patching(), in_one_go(tiny_model, table))


@pytest.mark.parametrize(
    ("options", "one_go"),
    [
        (
            {"site": "z", "heads": "each", "at": "positions", "direction": "noising"},
            {"kind": "z", "heads": "each", "at": "positions", "direction": "noising"},
        ),
        (
            {"layers": [1], "source_layers": [0, 1], "fit": "mean", "at": "roles"},
            {"layers": [1], "source_layers": [0, 1], "fit": "mean", "at": "roles"},
        ),
        (
            {"site": "k", "heads": [1], "at": "all", "metrics": ["log_prob", "text_mass"]},
            {"kind": "k", "heads": [1], "at": "all",
             "metrics": [log_prob(), modality_mass("text", name="text_mass")]},
        ),
    ],
)  # fmt: skip
def test_options_mean_what_they_mean_in_one_go(tiny_model, table, tmp_path, options, one_go):
    run = run_corpus(config_of(table, tmp_path, METRICS | options), model=tiny_model)
    assert same(run.patching(), in_one_go(tiny_model, table, **one_go))


def test_a_run_is_summed_up_without_a_model(tiny_model, table, tmp_path):
    run_corpus(config_of(table, tmp_path), model=tiny_model)
    run = open_run(tmp_path)
    found, expected = run.patching(), in_one_go(tiny_model, table)
    assert same(run.patching(), found)  # asking leaves the run as it was
    assert found.summary("logit_difference").equals(expected.summary("logit_difference"))
    assert found.recovery("rank", small="leave_out").equals(
        expected.recovery("rank", small="leave_out")
    )
    engines = run.table("engines").collect()
    assert engines.rows() == [(r["name"], "resumed", "") for r in ROWS]
    with pytest.raises(ValueError, match=r"table 'tracing' of a run of the kind 'patch'"):
        run.table("tracing")


def test_a_run_that_was_stopped_ends_with_the_same_bytes(tiny_model, table, tmp_path):
    config = config_of(table, tmp_path, items_per_shard=2)
    run_corpus(config, model=tiny_model)
    files = sorted(p for p in tmp_path.rglob("0*.parquet"))
    assert len(files) == 3 * 3  # three shards of patching, engines, items; no errors
    whole = {p: p.read_bytes() for p in files}
    for p in files:
        if p.stem == "000001":
            p.unlink()
    with pytest.raises(RunError, match=r"has 2 of 3 shards, expected all"):
        open_run(tmp_path).patching()
    run_corpus(config, model=tiny_model)
    assert {p: p.read_bytes() for p in files} == whole


BROKEN = [
    ({"name": None}, "read", "column name: is empty"),
    ({"answer": " "}, "read", "column answer: is empty"),
    ({"clean_modality": "sung"}, "read", r"column clean_modality: got 'sung', expected one of"),
    ({"name": "unit"}, "name", "an earlier item is named 'unit' too"),
    ({"clean": "the lion"}, "sequence", r"column clean, corrupted: .*2 and 3 words"),
    ({"answer": "quark"}, "sequence", "column answer, foil: .*finds no token"),
    ({"answer": "<Un20>"}, "sequence", r"column answer, foil: .*got units \[20\]"),
    ({"foil": "lives"}, "sequence", "column answer, foil: .*which both begin with"),
    ({"clean": "is " * 128, "corrupted": "in " * 128}, "sequence", "129 tokens.* at most the 128"),
    ({"foil": None}, "run", "logit_difference: got a pair without a foil"),
]  # fmt: skip


def test_a_pair_that_cannot_be_used_is_named_and_all_others_have_their_rows(
    tiny_model, table, tmp_path
):
    rows = [r | {"name": f"broken {i}"} | BROKEN[i][0] for i, r in enumerate([ROWS[0]] * 10)]
    mixed = write_table(tmp_path / "pairs.csv", [*rows[:3], *ROWS, *rows[3:]])
    config = config_of(mixed, tmp_path / "run", items_per_shard=4)
    run = run_corpus(config, model=tiny_model)
    assert same(run.patching(), in_one_go(tiny_model, table))
    assert run.items.collect()["name"].to_list() == [r["name"] for r in ROWS]
    errors = run.errors.collect().rows(named=True)
    assert [e["position"] for e in errors] == [0, 1, 2, *range(9, 16)]
    for error, (_, stage, reason) in zip(errors, BROKEN, strict=True):
        assert error["stage"] == stage
        assert re.search(reason, error["reason"]), error
        number = error["position"] + 1
        assert error["place"] == f"pairs.csv:{number}"
        if stage == "read":
            assert f"pairs.csv, row {number}, " in error["reason"]
    assert errors[0]["name"] == "pairs.csv:1"  # it has no name of its own
    assert "1 x ValueError at the stage 'run'" in run.summary()
    logged = [json.loads(x) for x in (tmp_path / "run" / "log.txt").read_text().splitlines()]
    assert [(x["n_items"], x["n_errors"]) for x in logged] == [(1, 3), (4, 0), (1, 3), (0, 4)]


def test_an_attention_pattern_of_another_length_is_an_error_of_its_pair(
    tiny_model, table, tmp_path
):
    options = METRICS | {"site": "pattern"}
    run = run_corpus(config_of(table, tmp_path / "run", options), model=tiny_model)
    (error,) = run.errors.collect().rows(named=True)
    assert (error["name"], error["stage"], error["place"]) == ("letters", "run", "pairs.csv:4")
    assert "attention patterns of runs whose positions differ" in error["reason"]
    others = write_table(tmp_path / "pairs.csv", [r for r in ROWS if r["name"] != "letters"])
    assert same(run.patching(), in_one_go(tiny_model, others, "pattern"))
    strict = config_of(table, tmp_path / "strict", options, strict=True)
    with pytest.raises(RunError, match=r"item 'letters' \(pairs.csv:4\) cannot .* stage 'run'"):
        run_corpus(strict, model=tiny_model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["logit_diff"]}, r"patch: got the metric 'logit_diff'.*'rank'.*Is 'logit_di"),
        ({"metrics": []}, r"patch: got the metrics \[\], expected at least one"),
        ({"metrics": ["kl", "kl"]}, r"got the metrics \['kl', 'kl'\].*none twice"),
        ({"layers": [2]}, r"layer 2 of a model of 2 layers, expected 0 to 1"),
        ({"source_layers": [7]}, r"layer 7 of a model of 2 layers"),
        ({"site": "z", "heads": [4]}, r"head 4 of 'z', expected 0 to 3"),
        ({"heads": "each"}, r"expected a head only for"),
        ({"memory_mb": 0.0}, r"patch: got memory_mb=0.0, expected a number above 0"),
    ],
)
def test_options_are_refused_before_anything_is_run(tiny_model, table, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run_corpus(config_of(table, tmp_path, options), model=tiny_model)
    assert not (tmp_path / "manifest.json").exists()


def test_pairs_and_clips_are_not_mixed_up(tiny_model, table, tmp_path):
    (tmp_path / "text.txt").write_text("the zebra\n")
    data = {"format": "text", "path": str(tmp_path / "text.txt")}
    with pytest.raises(ValueError, match=r"hold clips, for the kind 'patch', expected .* pairs"):
        run_corpus(config_of(table, tmp_path / "a", data=data), model=tiny_model)
    entries = entries_of(table, tmp_path / "b", "cache")
    with pytest.raises(ValueError, match=r"hold pairs, for the kind 'cache', expected .* clips"):
        run_corpus(run_config(entries), model=tiny_model)


def test_the_engine_is_that_of_the_runs_and_not_that_of_the_plan(own_model, table, tmp_path):
    def unchanged(x, hook):  # noqa: ARG001
        return x

    with own_model.hooks(fwd_hooks=[("blocks.0.hook_resid_post", unchanged)]):
        found = run_corpus(config_of(table, tmp_path / "hooked"), model=own_model).patching()
        assert same(found, in_one_go(own_model, table))
    assert found.engine == "whole runs"
    run = run_corpus(config_of(table, tmp_path / "run"), model=own_model)
    engines = run.table("engines").collect()
    last = pl.col("name") == ROWS[-1]["name"]
    fallen = engines.with_columns(
        engine=pl.when(last).then(pl.lit("whole runs")).otherwise("engine")
    )
    facts = run._facts()
    mixed = patching_of(run.patching().table, fallen, facts)
    assert mixed.engine == "resumed, whole runs"
    assert mixed.provenance is not None
    assert (facts["provenance"].forward, mixed.provenance.forward) == ("fast", "hooked")


def test_spoken_pairs(tmp_path):
    import slm_lens

    organism = slm_lens.load("organism")
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    first, second, third = write_clips(data, 3)
    for ending in ("flac", "json"):
        (data / f"{second}.{ending}").rename(data / "below" / f"{second}.{ending}")
    shutil.copy(data / f"{third}.flac", tmp_path)
    words = json.loads((data / f"{first}.json").read_text())["aligned_text"]
    text = " ".join(w for w, _, _ in words)
    speech = {"clean_modality": "speech", "corrupted_modality": "speech"}
    good = [
        row("across", f"{first}.flac", text, "sunny", "foggy", "text")
        | {"clean_modality": "speech"},
        row("same", f"below/{second}.flac", f"below/{second}.flac", "<Un3>", "<Un4>") | speech,
    ]
    bad = [
        row("outside", f"../{third}.flac", f"{first}.flac", "<Un3>", "<Un4>") | speech,
        row("absent", f"{second}.flac", f"{first}.flac", "<Un3>", "<Un4>") | speech,
    ]
    table = write_table(data / "pairs.csv", [good[0], *bad, good[1]])
    options = METRICS | {"at": "roles", "layers": [2, 5]}
    run = run_corpus(config_of(table, tmp_path / "run", options), model=organism)
    errors = run.errors.collect().select("name", "stage", "reason").rows()
    assert [e[:2] for e in errors] == [("outside", "read"), ("absent", "read")]
    assert "row 2, column clean: got the path" in errors[0][2]
    assert "leaves the table's folder" in errors[0][2]
    assert f"got '{second}.flac', expected a sound file" in errors[1][2]
    expected = in_one_go(organism, write_table(data / "good.csv", good), at="roles", layers=[2, 5])
    assert same(run.patching(), expected)
    short = config_of(table, tmp_path / "short", options, limits={"max_clip_s": 0.5})
    reasons = run_corpus(short, model=organism).errors.collect()["reason"]
    assert re.search(r"row 1, column clean: .*expected at most 0\.5 s", reasons[0])
    assert not Path(tmp_path / "short" / "patching").exists()
