"""Runs of the kind ``trace``: the rows of `causal_trace`, and what depends on all prompts."""

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from pair_tables import ROWS, entries_of, row, same, write_table
from short_clips import write_clips

from slm_lens.corpus.dataset import ReadOptions
from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.pair_rows import PairRows
from slm_lens.corpus.pairs import read_pairs
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError
from slm_lens.interventions.metrics import answer_probability, log_prob
from slm_lens.interventions.tracing.causal_trace import causal_trace
from slm_lens.interventions.tracing.traced_subjects import subject_runs

OPTIONS = {"n_samples": 2, "unanswered": "keep"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data") / "pairs.csv", ROWS)


def config_of(table, out, options=OPTIONS, **changes):
    return run_config(entries_of(table, out, "trace", trace=options, **changes))


def in_one_go(model, table, kind: Any = "resid_post", **options):
    prompts = subject_runs(read_pairs(model, table), repeated="once")
    options = {"n_samples": 2, "unanswered": "keep", "progress": False} | options
    return causal_trace(model, prompts, kind, **options)


@pytest.mark.parametrize("items_per_shard", [1, 4, 100])
def test_every_bit_is_that_of_one_go(tiny_model, table, tmp_path, items_per_shard):
    config = config_of(table, tmp_path, items_per_shard=items_per_shard)
    run = run_corpus(config, model=tiny_model)
    expected = in_one_go(tiny_model, table)
    assert same(run.tracing(), expected)
    assert run.tracing().summary().equals(expected.summary())
    assert len(run.table("engines").collect()) == len(ROWS) - 1


def test_options_mean_what_they_mean_in_one_go(tiny_model, table, tmp_path):
    options = {
        "site": "mlp_out", "at": "positions", "layers": [1], "window": 2, "severed": "attn_out",
        "sigma": {"text": 2, "speech": 0.5}, "n_samples": 3, "unanswered": "leave_out",
        "metrics": ["probability", "log_prob"], "repeated": "once",
    }  # fmt: skip
    run = run_corpus(config_of(table, tmp_path, options, seed=5), model=tiny_model)
    expected = in_one_go(
        tiny_model, table, "mlp_out", at="positions", layers=[1], window=2, severed="attn_out",
        sigma={"text": 2.0, "speech": 0.5}, n_samples=3, unanswered="leave_out", seed=5,
        metrics=[answer_probability(), log_prob()],
    )  # fmt: skip
    assert expected.prompts["kept"].to_list() == [True, True, False, False, False]
    assert same(run.tracing(), expected)
    assert run.errors.collect().is_empty()
    assert run.items.collect()["name"].to_list() == [r["name"] for r in ROWS]


def test_a_clean_run_that_an_earlier_pair_has_does_not_count_twice(tiny_model, table, tmp_path):
    refused = run_corpus(config_of(table, tmp_path / "a", items_per_shard=1), model=tiny_model)
    (error,) = refused.errors.collect().rows(named=True)
    assert (error["name"], error["stage"]) == ("letters", "sequence")
    assert re.search(r"answer of 'long' once more, expected each once", error["reason"])
    config = config_of(table, tmp_path / "b", OPTIONS | {"repeated": "once"}, items_per_shard=1)
    assert same(run_corpus(config, model=tiny_model).tracing(), refused.tracing())
    with pytest.raises(RunError, match=r"item 'letters' \(pairs.csv:4\).*'sequence'"):
        run_corpus(config_of(table, tmp_path / "c", strict=True), model=tiny_model)
    # Another answer makes it another prompt.
    other = [r | {"answer": "lion"} if r["name"] == "letters" else r for r in ROWS]
    whole = write_table(tmp_path / "pairs.csv", other)
    run = run_corpus(config_of(whole, tmp_path / "d"), model=tiny_model)
    assert run.errors.collect().is_empty()
    assert same(run.tracing(), in_one_go(tiny_model, whole))


def sigma_by_hand(model, subjects):
    """Three standard deviations of all entries of the subjects' rows of the embedding."""
    ids = [model.tokenizer.get_vocab()[f" {s}"] for s in subjects]
    embedded = model.original_model.get_input_embeddings().weight[ids].detach().numpy()
    return 3 * np.std(embedded.astype(np.float64), ddof=1)


def test_noise_is_measured_over_the_prompts_that_can_be_used(tiny_model, tmp_path):
    broken = [
        ROWS[0] | {"name": "no answer", "clean": "the striped is", "answer": "quark"},
        ROWS[0] | {"name": "no subject", "corrupted": "the desert is"},
        ROWS[0] | {"name": "two subjects", "corrupted": "in desert in"},
        ROWS[0] | {"name": "too long", "clean": "the " * 128, "corrupted": "is " + "the " * 127},
    ]
    table = write_table(tmp_path / "pairs.csv", [broken[0], *ROWS, *broken[1:]])
    config = config_of(table, tmp_path / "run", items_per_shard=2)
    run = run_corpus(config, model=tiny_model)
    subjects = ["desert", "lion", "zebra", "zebra", "zebra"]  # "letters" counts no second time
    by_hand = sigma_by_hand(tiny_model, subjects)
    assert run.tracing().sigma == pytest.approx({"text": by_hand}, rel=1e-12)
    errors = run.errors.collect().select("name", "stage").rows()
    assert errors == [
        (n, "sequence") for n in ("no answer", "letters", *[b["name"] for b in broken[1:]])
    ]
    good = write_table(tmp_path / "good.csv", ROWS)
    assert same(run.tracing(), in_one_go(tiny_model, good))


class CountedPairs(PairRows):
    """Counts how often each row is read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.n_read = Counter()

    def read(self, key, *, sample_rate_hz):
        self.n_read[key.name] += 1
        return super().read(key, sample_rate_hz=sample_rate_hz)


def test_what_was_settled_is_not_measured_again(tiny_model, table, tmp_path):
    config, data = config_of(table, tmp_path, items_per_shard=2), CountedPairs(table, ReadOptions())
    run = run_corpus(config, model=tiny_model, data=data)
    assert data.n_read == {r["name"]: 2 for r in ROWS}  # before the first shard, and in one
    whole = run.tracing()
    settled = json.loads((tmp_path / "manifest.json").read_text())["table"]
    assert (settled["sigma"], settled["repeated"]) == (whole.sigma, {"letters": "long"})
    kept = {p: p.read_bytes() for p in tmp_path.rglob("000001.parquet")}
    for p in kept:
        p.unlink()
    data = CountedPairs(table, ReadOptions())
    assert same(run_corpus(config, model=tiny_model, data=data).tracing(), whole)
    assert data.n_read == {"long": 1, "letters": 1}
    assert {p: p.read_bytes() for p in kept} == kept


def test_another_kind_begun_in_the_folder_is_told_as_such(tiny_model, table, tmp_path):
    entries = entries_of(table, tmp_path, "patch")
    run_corpus(run_config(entries), model=tiny_model)
    with pytest.raises(RunError, match=r"begun with other settings.*kind: 'trace' instead of"):
        run_corpus(config_of(table, tmp_path), model=tiny_model)


def test_a_subject_without_noise_and_a_metric_of_another_modality(tiny_model, table, tmp_path):
    sigma = OPTIONS | {"sigma": {"speech": 1.0}}
    run = run_corpus(config_of(table, tmp_path / "a", sigma), model=tiny_model)
    errors = run.errors.collect()
    assert errors["stage"].to_list() == ["sequence"] * len(ROWS)
    assert "expected a number above 0 for each of ['text']" in errors["reason"][0]
    metric = OPTIONS | {"metrics": ["next_unit_log_prob"], "repeated": "once"}
    run = run_corpus(config_of(table, tmp_path / "b", metric), model=tiny_model)
    assert run.errors.collect()["stage"].to_list() == ["run"] * (len(ROWS) - 1)
    with pytest.raises(RunError, match=r"no item of .* could be read"):
        run.tracing()


def test_no_prompt_is_answered(tiny_model, tmp_path):
    table = write_table(tmp_path / "pairs.csv", ROWS[2:3])
    run = run_corpus(config_of(table, tmp_path / "run", {"n_samples": 1}), model=tiny_model)
    assert run.table("prompts").collect()["answered"].to_list() == [False]
    with pytest.raises(RunError, match=r"got 1 prompts, none of which the model answers"):
        open_run(tmp_path / "run").tracing()


def test_no_pair_can_be_used(tiny_model, tmp_path):
    table = write_table(tmp_path / "pairs.csv", [row("a", "the lion", "is", "desert", None)])
    run = run_corpus(config_of(table, tmp_path / "run"), model=tiny_model)
    assert run.errors.collect()["stage"].to_list() == ["sequence"]
    assert run.is_complete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["probabilty"]}, r"trace: got the metric 'probabilty'.*Is 'probability' me"),
        ({"layers": [9]}, r"layer 9 of a model of 2 layers"),
        ({"window": 3}, r"got window=3 of 'resid_post'"),
        ({"sigma": {"text": 0.0}}, r"got sigma=\{'text': 0.0\}, expected a number above 0"),
        ({"n_samples": 0}, r"trace: got n_samples=0, expected a number above 0"),
        ({"noise_scale": -1.0}, r"trace: got noise_scale=-1.0"),
        ({"memory_mb": 0.0}, r"trace: got memory_mb=0.0"),
    ],
)
def test_options_are_refused_before_anything_is_run(tiny_model, table, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run_corpus(config_of(table, tmp_path, options), model=tiny_model)
    assert not (tmp_path / "manifest.json").exists()


def test_embeddings_that_do_not_vary(own_model, table, tmp_path):
    own_model.original_model.get_input_embeddings().weight.data.fill_(0.5)
    with pytest.raises(ValueError, match=r"got embeddings whose noise would be"):
        run_corpus(config_of(table, tmp_path), model=own_model)


def test_spoken_prompts(tmp_path):
    import slm_lens

    organism = slm_lens.load("organism")
    rows = []
    for name in write_clips(tmp_path, 2):
        words = [w for w, *_ in json.loads((tmp_path / f"{name}.json").read_text())["aligned_text"]]
        other = [*words[:1], "river" if words[1] != "river" else "forest", *words[2:]]
        made = row(name, f"{name}.flac", " ".join(other), "sunny", "foggy", "text")
        rows.append(made | {"clean_modality": "speech"})
    spoken = write_table(tmp_path / "pairs.csv", rows)
    config = config_of(spoken, tmp_path / "run", OPTIONS | {"layers": [3]}, items_per_shard=1)
    run = run_corpus(config, model=organism)
    found = run.tracing()
    assert found.table["modality"].unique().to_list() == ["speech"]
    assert same(found, in_one_go(organism, spoken, layers=[3]))
    assert isinstance(run.table("tracing"), pl.LazyFrame)
