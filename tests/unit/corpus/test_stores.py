"""Where a run is written: the same files in a folder and behind a URL, whole or not at all."""

import builtins
import json
import sys
import uuid
from dataclasses import asdict

import fsspec
import polars as pl
import pytest
import torch
from test_corpus_run import config_of, data, one_go, utterances_of  # noqa: F401 (fixtures)

from slm_lens.corpus.leases import Leases
from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.store import LocalStore, RemoteStore, open_store
from slm_lens.errors import RunError
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack, stack_and_check


@pytest.fixture
def memory():
    """A URL of its own in fsspec's memory."""
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    if fsspec.filesystem("memory").exists(url):
        fsspec.filesystem("memory").rm(url, recursive=True)


def stores(tmp_path):
    name = uuid.uuid4().hex
    return [LocalStore(tmp_path / "a"), RemoteStore(f"memory://{name}/run"),
            RemoteStore(f"file://{tmp_path}/b")]  # fmt: skip


def test_every_store_does_the_same(tmp_path):
    for store in stores(tmp_path):
        assert store.names() == []
        assert store.names("words") == []
        assert not store.exists("words/0")
        with pytest.raises(FileNotFoundError):
            store.read("words/0")
        store.write("words/0", b"one")
        store.write("words/0", b"two")
        assert store.read("words/0") == b"two"
        assert store.create("words/1", b"first")
        assert not store.create("words/1", b"second")
        assert store.read("words/1") == b"first"
        assert store.names("words") == ["0", "1"]
        assert store.names() == ["words"]
        store.append("log", b"a\n")
        store.append("log", b"b\n")
        assert store.read("log") == b"a\nb\n"
        store.remove("words/1")
        store.remove("words/1")
        assert store.names("words") == ["0"]
        assert store.location("words/0").endswith("/words/0")


def test_leases_exclude_each_other_in_every_store(tmp_path):
    for store in stores(tmp_path):
        mine, other = Leases(store), Leases(store)
        assert mine.take(3)
        assert not other.take(3)
        mine.give_back(3)
        assert other.take(3)


def test_a_run_behind_a_url_has_the_bytes_of_one_in_a_folder(tiny_model, data, tmp_path, memory):  # noqa: F811
    here = run_corpus(config_of(data, tmp_path), model=tiny_model)
    there = run_corpus(config_of(data, memory), model=tiny_model)
    store = open_store(memory)
    for table in ("words", "items"):
        for name in store.names(table):
            assert store.read(f"{table}/{name}") == (tmp_path / table / name).read_bytes()
    assert store.read("plan.parquet") == (tmp_path / "plan.parquet").read_bytes()
    assert there.words.collect().equals(here.words.collect())
    assert there.word_lens().table.equals(here.word_lens().table)
    assert there.summary() == here.summary()
    (log,) = [n for n in store.names() if n.startswith("log")]
    assert len(store.read(log).splitlines()) == 5
    # Only what is missing is done again, by a process that finds the folder.
    store.remove("items/000002.parquet")
    again = run_corpus(config_of(data, memory), model=tiny_model)
    assert again.words.collect().equals(here.words.collect())
    with pytest.raises(RunError, match=r"seed: 1 instead of 0"):
        run_corpus(config_of(data, memory, seed=1), model=tiny_model)


def test_a_filter_reads_columns_of_a_remote_table(tiny_model, data, memory, one_go):  # noqa: F811
    run = run_corpus(config_of(data, memory), model=tiny_model)
    found = run.words.filter(pl.col("layer") == 1).select("utterance", "word").collect()
    assert found.equals(one_go.table.filter(layer=1).select("utterance", "word"))


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_duckdb_sees_what_polars_sees(tiny_model, data, tmp_path, memory, where):  # noqa: F811
    run = run_corpus(config_of(data, tmp_path if where == "folder" else memory), model=tiny_model)
    connection = run.duckdb()
    asked = "select layer, count(*) n, avg(text_mass) mass from words group by layer order by layer"
    by_layer = run.words.group_by("layer").agg(pl.len(), pl.col("text_mass").mean()).sort("layer")
    expected = by_layer.collect()
    for row, other in zip(connection.sql(asked).fetchall(), expected.rows(), strict=True):
        assert row[:2] == other[:2]
        assert row[2] == pytest.approx(other[2], abs=1e-6)
    assert connection.sql("select count(*) from items").fetchall() == [(23,)]
    assert [t for (t,) in connection.sql("show tables").fetchall()] == ["items", "words"]
    connection.close()


def test_without_duckdb_the_command_is_told(tiny_model, data, tmp_path, monkeypatch):  # noqa: F811
    run = run_corpus(config_of(data, tmp_path), model=tiny_model)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"pip install 'slm-lens\[query\]'"):
        run.duckdb()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/run cannot be made \(Not a directory\), expected"):
        open_store(tmp_path / "file" / "run").write("a", b"")


def test_urls_that_nothing_knows():
    with pytest.raises(ValueError, match=r"got 'nowhere://x'.*expected a folder, or a URL"):
        open_store("nowhere://x")
    assert isinstance(open_store("file:///tmp/x"), LocalStore)
    assert isinstance(open_store("runs/x"), LocalStore)


def test_a_url_whose_package_is_not_installed_names_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "s3fs":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"'s3://bucket/run' needs another package: .*s3fs"):
        open_store("s3://bucket/run")


def test_autocast_multiplies_in_half_precision_and_says_so(tiny_model, data, tmp_path):  # noqa: F811
    tokens = utterances_of(tiny_model, data)[0].sequence.tokens[None]
    found = stack_and_check(
        tiny_model, LogitLens(tiny_model), tokens, None, forward="fast", autocast="bfloat16"
    )
    # The plain Hugging Face model, under torch's own autocast.
    layers = []
    with tiny_model.plain_forward.lent() as (model, blocks), torch.no_grad():
        handles = [b.register_forward_hook(lambda _m, _i, out: layers.append(out)) for b in blocks]
        with torch.autocast("cpu", torch.bfloat16):
            model(input_ids=tokens)
        for handle in handles:
            handle.remove()
    assert torch.equal(found[1:], torch.stack([x if torch.is_tensor(x) else x[0] for x in layers]))
    exact = residual_stack(tiny_model, tokens)
    assert 0 < (found - exact).abs().max() < 0.1 * exact.abs().max()  # 8 bits
    run = run_corpus(config_of(data, tmp_path, autocast="bfloat16"), model=tiny_model)
    assert run.word_lens().provenance.autocast == "bfloat16"
    assert "float32 (autocast bfloat16)" in run.word_lens().provenance.in_words()
    with pytest.raises(RunError, match="autocast"):
        run_corpus(config_of(data, tmp_path), model=tiny_model)


def test_a_data_set_of_ones_own(tiny_model, data, tmp_path, one_go):  # noqa: F811
    """Anything with the members of `Dataset` runs; here the lines in memory."""
    from slm_lens.corpus.dataset import ReadOptions
    from slm_lens.corpus.jsonl_units import JsonlUnits

    class Shorter(JsonlUnits):
        def item_keys(self):
            yield from list(super().item_keys())[:9]

    own = Shorter(data, ReadOptions(), frame_rate_hz=25.0)
    run = run_corpus(config_of(data, tmp_path), model=tiny_model, data=own)
    assert (
        run.items.collect()["name"].to_list()
        == one_go.table["utterance"].unique(maintain_order=True).to_list()[:9]
    )
    with pytest.raises(ValueError, match="in memory for the engine 'ray'"):
        run_corpus(config_of(data, tmp_path, engine={"name": "ray"}), data=own)


def test_the_manifest_says_what_ran(tiny_model, data, tmp_path):  # noqa: F811
    config = config_of(data, tmp_path)
    run_corpus(config, model=tiny_model)
    manifest = open_run(tmp_path).manifest
    assert manifest["config"] == json.loads(json.dumps(asdict(config)))
    assert manifest["rows_depend_on"]["options"]["n_draws"] == 3
    assert "phases" not in manifest["rows_depend_on"]
