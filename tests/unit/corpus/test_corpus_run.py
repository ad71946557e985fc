"""A run over a corpus: the numbers of one go, whatever the shards; its folder and tables."""

import json
import re
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from slamkit_folders import WORDS

from slm_lens.corpus import leases as leases_module
from slm_lens.corpus.batches import batches, padding_share
from slm_lens.corpus.leases import Leases
from slm_lens.corpus.manifest import vocabulary
from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.plan import read_plan
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.corpus.run_folder import RunFolder
from slm_lens.corpus.store import LocalStore, full_disk_told
from slm_lens.errors import RunError
from slm_lens.lens.word_lens import WordLens, word_lens
from slm_lens.phases.measure import measure_phases
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units

N_ITEMS = 23
RATE_HZ = 25.0


def write_items(path, n=N_ITEMS, seed=0):
    """Lines of units with words of 2 to 4 units; one word has no token, one no position."""
    rng, lines = np.random.default_rng(seed), []
    for i in range(n):
        ids, words, start = [], [], 0
        for w in range(int(rng.integers(3, 9))):
            n_units = int(rng.integers(2, 5))
            word = "xyz" if (i, w) == (2, 1) else WORDS[int(rng.integers(len(WORDS)))]
            end = start + n_units
            words.append([f" {word}", start / RATE_HZ, end / RATE_HZ])
            ids += [(len(ids) * 7 + i + k) % 20 for k in range(n_units)]
            start = end
        if i == 1:  # within a unit, so no unit is the word's
            words[-1][1:] = [words[-1][2] - 0.03, words[-1][2] - 0.01]
        lines.append({"file_name": f"item-{i:02d}.flac", "units": ids, "aligned_text": words})
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return lines


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "items.jsonl"
    write_items(path)
    return path


def config_of(data, out, **changes):
    entries = {
        "model": {"name": "tiny"},
        "data": {"format": "jsonl_units", "path": str(data), "frame_rate_hz": RATE_HZ},
        "out": str(out),
        "phases": {"n_draws": 3, "policy": "first_piece"},
        "items_per_shard": 5,
        "tokens_per_batch": 60,
    }
    return run_config(entries, changes)


def utterances_of(model, data):
    found = []
    for row in map(json.loads, data.read_text().splitlines()):
        ids = torch.tensor(row["units"])
        units = Units.from_frames(ids, frame_rate_hz=RATE_HZ, dedup=False)
        words = tuple(AlignedWord(w.strip(), s, e) for w, s, e in row["aligned_text"])
        sequence = model.sequence_from_units(units, Alignment(words))
        found.append(Utterance(row["file_name"].removesuffix(".flac"), sequence))
    return found


@pytest.fixture(scope="module")
def one_go(tiny_model, data):
    return word_lens(
        tiny_model,
        utterances_of(tiny_model, data),
        function_words=ENGLISH_FUNCTION_WORDS,
        policy="first_piece",
        n_draws=3,
    )


@pytest.fixture(scope="module")
def run(tiny_model, data, tmp_path_factory):
    return run_corpus(config_of(data, tmp_path_factory.mktemp("run")), model=tiny_model)


def same_facts(a: WordLens, b: WordLens):
    return all(v == b.__dict__[k] for k, v in a.__dict__.items() if k != "table")


@pytest.mark.parametrize("items_per_shard", [1, 7, 100])
def test_one_item_at_a_time_every_bit_is_that_of_one_go(
    tiny_model, data, tmp_path, one_go, items_per_shard
):
    config = config_of(data, tmp_path, items_per_shard=items_per_shard, tokens_per_batch=1)
    words = run_corpus(config, model=tiny_model).word_lens()
    assert words.table.equals(one_go.table)
    assert same_facts(words, one_go)


def test_the_data_have_words_without_tokens_and_without_positions(one_go):
    assert len(one_go.words_without_positions) == 1
    assert one_go.words_without_tokens == {"xyz": 1}


def test_in_batches_recall_is_that_of_one_go_to_the_last_digit(run, one_go):
    words = run.word_lens()
    assert same_facts(words, one_go)
    whole = [n for n, kind in one_go.table.schema.items() if not kind.is_float()]
    assert words.table.select(whole).equals(one_go.table.select(whole))  # ranks, controls, names
    for name in set(one_go.table.columns) - set(whole):
        difference = (words.table[name] - one_go.table[name]).abs().max()
        assert difference is None or difference < 1e-6  # float32; measured 1.2e-7
    a, b = (measure_phases(w, n_bootstrap=20) for w in (words, one_go))
    recall = pl.col("measure").str.contains("recall")
    assert a.curves.filter(recall).equals(b.curves.filter(recall))
    assert (a.current_word, a.next_word) == (b.current_word, b.next_word)


def test_draws_do_not_depend_on_what_is_in_the_data_besides_their_words(tiny_model, data, tmp_path):
    """An item that breaks after its words were read leaves the rows of all others as they were."""
    rows = [json.loads(x) for x in data.read_text().splitlines()]
    rows[4]["units"] = rows[4]["units"][:1]  # its words lie past its end now
    broken = tmp_path / "items.jsonl"
    broken.write_text("".join(json.dumps(r) + "\n" for r in rows))
    runs = [
        run_corpus(config_of(d, tmp_path / n, tokens_per_batch=1), model=tiny_model)
        for n, d in (("whole", data), ("broken", broken))
    ]
    whole, other = (r.words.collect() for r in runs)
    assert runs[1].errors.collect()["name"].to_list() == ["item-04"]
    assert other.equals(whole.filter(pl.col("utterance") != "item-04"))


def test_the_folder_has_what_the_docs_say(run, tiny_model):
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "manifest.json",
        "plan.parquet",
        "log.txt",
        "leases",
        "words",
        "items",
    }  # no item is broken
    assert not list((run.path / "leases").iterdir())
    assert [p.name for p in sorted((run.path / "words").iterdir())] == [
        f"{i:06d}.parquet" for i in range(5)
    ]
    about = pq.read_schema(run.path / "words" / "000003.parquet").metadata
    assert (about[b"slm_lens.schema"], about[b"slm_lens.shard"]) == (b"2", b"3")
    manifest = run.manifest
    assert manifest["data"]["n_items"] == N_ITEMS
    assert manifest["vocabulary"] == json.loads(json.dumps(vocabulary(tiny_model.vocab)))
    covered = sum(b - a + 1 for a, b in manifest["vocabulary"]["text"])
    assert covered == len(tiny_model.vocab.text)
    assert manifest["seeds"] == {"draws": 0}
    assert {"torch", "slm-lens", "python"} <= manifest["versions"].keys()
    assert len(manifest["model"]["hash"]) == 32
    log = [json.loads(x) for x in (run.path / "log.txt").read_text().splitlines()]
    assert [x["shard"] for x in log] == [0, 1, 2, 3, 4]
    assert all(0 <= x["padding"] < 0.5 and x["peak_memory_mb"] > 0 for x in log)
    assert run.summary() == "23 of 23 items read, 5 of 5 shards done"
    assert run.items.collect()["position"].to_list() == list(range(N_ITEMS))
    assert run.errors.collect().is_empty()
    assert run.is_complete


def test_only_missing_shards_are_done_again(tiny_model, data, tmp_path):
    config = config_of(data, tmp_path)
    first = run_corpus(config, model=tiny_model)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    (tmp_path / "items" / "000002.parquet").unlink()
    (tmp_path / "words" / ".000002.999999999.part.parquet").write_bytes(b"left over")
    part = open_run(tmp_path)
    assert (part.shards, part.is_complete) == ((0, 1, 3, 4), False)
    with pytest.raises(RunError, match="4 of 5 shards, expected all of them"):
        part.word_lens()
    run_corpus(config, model=tiny_model)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == before
    log = [json.loads(x)["shard"] for x in (first.path / "log.txt").read_text().splitlines()]
    assert log == [0, 1, 2, 3, 4, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"rows_depend_on\.seed: 1 instead of 0"),
        ({"items_per_shard": 6}, r"items_per_shard: 6 instead of 5"),
        ({"phases": {"policy": "prefixes"}}, r"policy: 'prefixes' instead of 'first_piece'"),
    ],
)
def test_another_config_is_refused(tiny_model, data, run, change, message):
    with pytest.raises(RunError, match=message):
        run_corpus(config_of(data, run.path, **change), model=tiny_model)


def test_what_rows_do_not_depend_on_may_change(tiny_model, data, run):
    run_corpus(config_of(data, run.path, n_readers=5, strict=True), model=tiny_model)


def test_another_model_is_refused(own_model, data, run):
    next(own_model.parameters()).data.add_(0.5)
    with pytest.raises(RunError, match=r"model\.hash"):
        run_corpus(config_of(data, run.path), model=own_model)


def test_data_that_changed_are_refused(tiny_model, tmp_path):
    data = tmp_path / "items.jsonl"
    write_items(data)
    run_corpus(config_of(data, tmp_path / "run"), model=tiny_model)
    write_items(data, n=N_ITEMS + 1)
    with pytest.raises(RunError, match="the data are not those"):
        run_corpus(config_of(data, tmp_path / "run"), model=tiny_model)


def test_data_and_kind_have_to_fit(tiny_model, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("the zebra\n")
    entries = {"format": "text", "path": str(text)}
    config = run_config({"model": {"name": "x"}, "data": entries, "out": str(tmp_path / "r")})
    with pytest.raises(ValueError, match="got data of format 'text' without word times"):
        run_corpus(config, model=tiny_model)
    data = tmp_path / "one.jsonl"
    write_items(data, n=1)
    with pytest.raises(ValueError, match="got one item with n_draws=3"):
        run_corpus(config_of(data, tmp_path / "one"), model=tiny_model)
    assert run_corpus(
        config_of(data, tmp_path / "one", phases={"n_draws": 0}), model=tiny_model
    ).is_complete
    data.write_text("\n")
    with pytest.raises(RunError, match="the data have no item"):
        run_corpus(config_of(data, tmp_path / "none"), model=tiny_model)


def test_items_that_the_model_cannot_run(tiny_model, tmp_path):
    data = tmp_path / "items.jsonl"
    rows = write_items(data, n=4)
    rows[0]["units"] = [i % 20 for i in range(200)]  # the context has 128
    rows[1]["units"][0] = 20  # of units 0 to 19
    end_s = len(rows[2]["units"]) / RATE_HZ
    rows[2]["aligned_text"] = [["zebra", end_s - 0.03, end_s - 0.01]]  # within one unit
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = run_corpus(config_of(data, tmp_path / "run"), model=tiny_model)
    errors = run.errors.collect()
    assert errors["stage"].to_list() == ["sequence"] * 3
    for reason, message in zip(
        errors["reason"], (r"200 tokens.* at most the 128", "20", "no spoken word"), strict=True
    ):
        assert re.search(message, reason)
    assert "3 x " in run.summary() or "3 ITEMS" in run.summary()


def test_no_good_item_at_all(tiny_model, tmp_path):
    data = tmp_path / "items.jsonl"
    data.write_text('{"a": 1}\n{"b": 1}\n')
    run = run_corpus(config_of(data, tmp_path / "run"), model=tiny_model)
    assert (len(run.errors.collect()), len(run.items.collect())) == (2, 0)
    assert run.words.collect().is_empty()
    with pytest.raises(RunError, match=r"no item of .* could be read"):
        run.word_lens()


def test_a_folder_with_other_things_is_refused(tiny_model, data, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds \['thesis.tex'\], expected an empty folder"):
        run_corpus(config_of(data, tmp_path), model=tiny_model)
    with pytest.raises(LookupError, match=r"no manifest.json"):
        open_run(tmp_path)


def _manifest(n_shards: int = 1, table: object = None, kind: object = "phases"):
    about = {"n_items": 1, "n_shards": n_shards}
    return json.dumps({"schema_version": 2, "kind": kind, "data": about, "table": table or {}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "cannot be read"),
        ('{"schema_version": 9}', "version 9"),
        ('{"schema_version": ' + "[" * 900 + "]" * 900 + "}", "version"),
        ('{"schema_version": 2}', "does not say of which kind"),
        (_manifest(n_shards=-1), "how many items and shards"),
        (_manifest(table=3), "or what its table holds"),
        (_manifest(kind="sweep"), r"of which kind the run is \(\['phases', 'score'"),
        (_manifest(kind=["phases"]), "of which kind"),
    ],
)
def test_a_damaged_manifest_is_told(tmp_path, content, message):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=message):
        open_run(tmp_path)


def test_other_facts_of_the_table_and_other_files_are_told(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "items" / "0x.parquet").touch()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["table"]["kernel"] = manifest["table"].pop("policy")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    edited = open_run(tmp_path / "run")
    assert edited.shards == run.shards
    with pytest.raises(RunError, match=r"has facts \['d_vocab', 'kernel'.*expected"):
        edited.word_lens()


@pytest.mark.parametrize("name", [None, "a"])
def test_a_plan_lacks_nothing(tmp_path, name):
    """A list that is absent is that of an item whose words could not be read."""
    rows = [(name, "a:1", 0, 9, None), ("b", "a:2", 1, 9, [None])]
    schema = {"name": pl.String, "place": pl.String, "number": pl.Int64, "size_bytes": pl.Int64}
    table = pl.DataFrame(rows, schema=schema | {"words": pl.List(pl.String)}, orient="row")
    (table[:1] if name is None else table).write_parquet(tmp_path / "plan.parquet")
    with pytest.raises(RunError, match="lacks a value"):
        read_plan((tmp_path / "plan.parquet").read_bytes(), "plan.parquet")
    table[: 0 if name is None else 1].write_parquet(tmp_path / "plan.parquet")
    assert len(read_plan((tmp_path / "plan.parquet").read_bytes(), "plan.parquet").items) == (
        name is not None
    )


def test_a_plan_that_is_no_utf_8_is_told(tmp_path):
    """Polars panics, later, at the row that has it."""
    name = pa.array([b"\xff"], pa.binary()).view(pa.string())
    words = pa.array([["a"]], pa.list_(pa.string()))
    rows = {"name": name, "place": ["a:1"], "number": [0], "size_bytes": [9], "words": words}
    pq.write_table(pa.table(rows), tmp_path / "plan.parquet")
    with pytest.raises(RunError, match=r"plan\.parquet cannot be read \(.*UTF8"):
        read_plan((tmp_path / "plan.parquet").read_bytes(), "plan.parquet")


_LEVELS = ("table", "column", "entry")


@pytest.mark.parametrize("place", _LEVELS)
def test_metadata_of_a_plan_may_be_no_utf_8(tmp_path, place):
    """Polars panics at them, and nothing reads them."""
    odd = {level: {b"\xff": b"\xff"} if level == place else None for level in _LEVELS}
    words = pa.list_(pa.field("element", pa.string(), metadata=odd["entry"]))
    schema = pa.schema(
        [
            pa.field("name", pa.string(), metadata=odd["column"]), ("place", pa.string()),
            ("number", pa.int64()), ("size_bytes", pa.int64()), ("words", words),
        ],
        metadata=odd["table"],
    )  # fmt: skip
    row = {"name": "a", "place": "a:1", "number": 0, "size_bytes": 9, "words": ["the"]}
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "plan.parquet")
    plan = read_plan((tmp_path / "plan.parquet").read_bytes(), "plan.parquet")
    assert plan.items.rows() == [("a", "a:1", 0, 9)]


def test_a_damaged_plan_is_told(tiny_model, data, tmp_path):
    config = config_of(data, tmp_path)
    run_corpus(config, model=tiny_model)
    (tmp_path / "plan.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"plan\.parquet cannot be read"):
        run_corpus(config, model=tiny_model)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "plan.parquet")
    with pytest.raises(RunError, match=r"plan\.parquet has the columns"):
        run_corpus(config, model=tiny_model)


def test_a_full_disk_is_told_and_other_errors_are_not_hidden(tmp_path):
    full = Path("/dev/full")
    with (
        pytest.raises(RunError, match=r"/dev/full could not be written \(No space left"),
        full_disk_told("/dev/full"),
        full.open("wb", buffering=0) as file,
    ):
        file.write(b"x")
    folder = RunFolder(tmp_path, "phases")
    folder.log(a=1)
    with pytest.raises(NotADirectoryError):
        folder.store.append("log.txt/x", b"")


def test_leases(tmp_path):
    mine, path = Leases(LocalStore(tmp_path)), tmp_path / "leases" / "000007.lease"
    assert mine.take(7)
    assert not mine.take(7)  # this process is alive
    mine.touch(7)
    about = json.loads(path.read_bytes())
    mine.give_back(7)
    assert not path.exists()
    mine.give_back(7)  # nothing there
    for stale in (about | {"pid": 2**22 + 1}, about | {"started": "1"}, {"half": "written"}, []):
        path.write_text(json.dumps(stale))
        assert mine.take(7)
        mine.give_back(7)
    path.write_text(json.dumps(about | {"host": "elsewhere"}))
    assert not mine.take(7)
    mine.give_back(7)  # it is not ours to give
    assert path.exists()
    assert mine.take(7, anyway=True)
    past = time.time() - leases_module.STALE_AFTER_S - 1
    path.write_text(json.dumps(about | {"host": "elsewhere", "touched_s": past}))
    assert mine.take(7)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_lease_says_that_it_is_held_still(tmp_path, monkeypatch):
    mine, path = Leases(LocalStore(tmp_path)), tmp_path / "leases" / "000001.lease"
    mine.take(1)
    taken = json.loads(path.read_bytes())["touched_s"]
    mine.touch(1)
    assert json.loads(path.read_bytes())["touched_s"] == taken  # not more often than needed
    monkeypatch.setattr(leases_module, "_TOUCHED_EVERY_S", 0.0)
    mine.touch(1)
    assert json.loads(path.read_bytes())["touched_s"] > taken


def test_a_shard_that_another_process_holds_is_waited_for(tiny_model, data, tmp_path):
    config = config_of(data, tmp_path)
    whole = run_corpus(config, model=tiny_model).words.collect()
    (tmp_path / "items" / "000001.parquet").rename(tmp_path / "items" / "kept.part")
    other = Leases(LocalStore(tmp_path))
    assert other.take(1)

    def finish():
        time.sleep(0.3)
        (tmp_path / "items" / "kept.part").rename(tmp_path / "items" / "000001.parquet")
        other.give_back(1)

    thread = threading.Thread(target=finish)
    thread.start()
    again = run_corpus(replace(config, n_readers=1), model=tiny_model)
    thread.join()
    assert again.words.collect().equals(whole)
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 5  # it was not done again


def test_batches_fit_the_budget_and_hold_like_lengths():
    lengths = [5, 100, 7, 6, 30, 5, 31]
    found = batches(lengths, 60)
    assert sorted(i for batch in found for i in batch) == list(range(7))
    assert found == [[0, 5, 3, 2], [4], [6], [1]]  # 4 x 7 fits 60; 5 x 30 and 2 x 31 do not
    assert padding_share(lengths, found) == pytest.approx(1 - 184 / (28 + 30 + 31 + 100))
    assert batches([], 60) == []
    assert padding_share([], []) == 0
