"""Hugging Face data sets from disk: saved, or a folder that is loaded; nothing is downloaded."""

import gc
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import datasets
import datasets.config as datasets_config
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from short_clips import write_clips

import slm_lens
from slm_lens.corpus import hugging_face
from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, Limits, ReadOptions
from slm_lens.corpus.hugging_face import HuggingFaceRows
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.corpus.table_columns import TableColumns

OPTIONS = ReadOptions()
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips with their words: path, samples, and ``[word, start, end]`` of each."""
    folder, found = tmp_path_factory.mktemp("clips"), []
    for name in write_clips(folder, 4, ending="wav"):
        path = folder / f"{name}.wav"
        words = json.loads(path.with_suffix(".json").read_text())["aligned_text"]
        samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        found.append((path, samples, words))
    return found


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """The cache in a folder of the test, and no network: a connection is an error."""

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()
    gc.collect()  # files that are mapped into memory are closed


def spoken(clips, **features):
    """A data set with sound of the feature ``Audio`` and word times."""
    rows = {
        "id": [f"c{i}" for i in range(len(clips))],
        "audio": [{"bytes": path.read_bytes(), "path": path.name} for path, _, _ in clips],
        "words": [[{"word": w, "start": s, "end": e} for w, s, e in ws] for _, _, ws in clips],
    }
    made = datasets.Dataset.from_dict(rows, **features)
    return made.cast_column("audio", datasets.Audio())


WORDS_COLUMNS = TableColumns(name="id", audio="audio", words="words")


def read(data: Dataset, number: int = 0) -> Any:
    return data.read(list(data.item_keys())[number], sample_rate_hz=RATE_HZ)


def check_clips(data, clips, numbers):
    assert isinstance(data, Dataset)
    assert (data.holds, data.has_sound, data.has_words) == ("clips", True, True)
    keys = list(data.item_keys())
    assert [k.name for k in keys] == [f"c{i}" for i in numbers]
    for key, i in zip(keys, numbers, strict=True):
        _, samples, words = clips[i]
        assert data.words(key) == tuple(w.strip() for w, _, _ in words)
        item: Any = data.read(key, sample_rate_hz=RATE_HZ)
        assert torch.equal(item.waveform, samples)
        assert [w.end_s for w in item.alignment] == pytest.approx([e for _, _, e in words])


def test_what_save_to_disk_wrote_of_one_split(tmp_path, clips):
    spoken(clips, split="test").save_to_disk(tmp_path / "saved")
    for split in (None, "test"):
        data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS, split=split)
        check_clips(data, clips, range(4))
        assert [k.place for k in data.item_keys()] == [f"test:{i}" for i in range(4)]
    with pytest.raises(LookupError, match=r"got split='train' of .*holds the split 'test' alone"):
        HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS, split="train")
    with pytest.raises(
        ValueError, match=r"got subset='x' and revision=None for .*expected neither"
    ):
        HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS, subset="x")


def test_what_save_to_disk_wrote_of_several_splits(tmp_path, clips):
    whole = spoken(clips)
    splits: Any = {"train": whole.select([0, 1]), "test": whole.select([3, 2])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS, split="test")
    check_clips(data, clips, [3, 2])
    for split in (None, "dev"):
        with pytest.raises(LookupError, match=r"expected one of \['train', 'test'\]"):
            HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS, split=split)


def test_a_folder_of_parquet_with_subsets(tmp_path, clips):
    """As the hub stores it: files by subset and split, and a README that says which is which."""
    root = tmp_path / "repo"
    for subset, rows in (("fast", [0, 1]), ("slow", [2, 3])):
        (root / subset).mkdir(parents=True)
        spoken(clips).select(rows).to_parquet(root / subset / "test-00000-of-00001.parquet")
    configs = "".join(
        f"- config_name: {s}\n  data_files:\n  - split: test\n    path: {s}/test-*\n"
        for s in ("fast", "slow")
    )
    (root / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    data = HuggingFaceRows(str(root), OPTIONS, WORDS_COLUMNS, subset="slow", split="test")
    check_clips(data, clips, [2, 3])
    for entries, message in (
        ({"split": "test"}, r"Config name is missing"),
        ({"subset": "slow", "split": "train"}, r"Unknown split"),
        ({"subset": "slow"}, r"without a split, expected the name of one"),
    ):
        with pytest.raises(LookupError, match=message):
            HuggingFaceRows(str(root), OPTIONS, WORDS_COLUMNS, **entries)


def test_sound_by_path_lies_in_the_folder(tmp_path, clips):
    root = tmp_path / "repo"
    root.mkdir()
    (root / "beside.wav").write_bytes(clips[0][0].read_bytes())
    paths = ["beside.wav", str(clips[0][0]), "../secret.wav"]
    pq.write_table(pa.table({"a": [{"bytes": None, "path": p} for p in paths]}), root / "x.parquet")
    readme = "---\nconfigs:\n- config_name: default\n  data_files: x.parquet\n---\n"
    (root / "README.md").write_text(readme)  # not as a folder of sounds
    data = HuggingFaceRows(str(root), OPTIONS, TableColumns(audio="a"), split="train")
    assert torch.equal(read(data).waveform, clips[0][1])
    for number in (1, 2):
        with pytest.raises(ITEM_ERRORS, match="leaves the data's folder"):
            read(data, number)


def test_trials_of_sound_and_text(tmp_path, clips):
    sounds = [{"bytes": path.read_bytes(), "path": None} for path, _, _ in clips]
    rows = {"prompt": sounds[:2], "correct": ["savanna", "desert"], "counterfactual": ["a", "b"],
            "category": ["home", "food"]}  # fmt: skip
    made = datasets.Dataset.from_dict(rows).cast_column("prompt", datasets.Audio())
    made.save_to_disk(tmp_path / "saved")
    config = DataConfig(
        format="huggingface", path=str(tmp_path / "saved"), prompt_column="prompt",
        right_column="correct", wrong_column="counterfactual", part_column="category",
    )  # fmt: skip
    data = open_dataset(config, Limits())
    assert (data.holds, data.has_sound) == ("trials", True)
    assert [k.name for k in data.item_keys()] == ["rows:0", "rows:1"]
    trial = read(data, 1)
    assert (trial.part, trial.right.text, trial.wrong.text) == ("food", "desert", "b")
    assert torch.equal(trial.prompt.waveform, clips[1][1])


def test_a_format_that_was_set_and_an_order_do_not_matter(tmp_path, clips):
    made = spoken(clips).with_format("numpy").select([2, 0, 3, 1])
    made.save_to_disk(tmp_path / "saved")
    data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS)
    check_clips(data, clips, [2, 0, 3, 1])


def test_words_as_older_sequences_have_them(tmp_path, clips):
    path, _, words = clips[0]
    by_column = {k: [w[i] for w in words] for i, k in enumerate(("word", "start", "end"))}
    rows = {"audio": [path.read_bytes()], "words": [by_column]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    columns = TableColumns(audio="audio", words="words")
    data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, columns)
    (key,) = data.item_keys()
    assert data.words(key) == tuple(w.strip() for w, _, _ in words)


def test_sound_is_neither_decoded_nor_held(tmp_path):
    """Keys and words of 24 MB of bytes that are no sound; a row is an error when it is read."""
    rows = {
        "id": [f"n{i}" for i in range(24)],
        "audio": [b"\0" * (1 << 20)] * 24,
        "words": [json.dumps([["a", 0.0, 0.5]])] * 24,
    }
    pq.write_table(pa.table(rows), tmp_path / "big.parquet", row_group_size=8)
    made = datasets.Dataset.from_parquet(str(tmp_path / "big.parquet"))
    assert isinstance(made, datasets.Dataset)
    made.cast_column("audio", datasets.Audio()).save_to_disk(tmp_path / "saved")
    del made, rows
    gc.collect()
    before = pa.total_allocated_bytes()
    data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS)
    keys = list(data.item_keys())
    assert [data.words(k) for k in keys] == [("a",)] * 24
    for number in (3, 20):
        with pytest.raises(ITEM_ERRORS, match="libsndfile cannot decode"):
            read(data, number)
    assert pa.total_allocated_bytes() - before < 4 << 20
    small = ReadOptions(Limits(max_clip_bytes=1000))
    with pytest.raises(ITEM_ERRORS, match="expected at most max_clip_bytes=1000"):
        read(HuggingFaceRows(str(tmp_path / "saved"), small, WORDS_COLUMNS))


def test_threads_read_what_one_reads(tmp_path, clips):
    spoken(clips * 8).save_to_disk(tmp_path / "saved")
    data = HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, TableColumns(audio="audio"))
    keys = list(data.item_keys())
    with ThreadPoolExecutor(8) as pool:
        items: Any = list(pool.map(lambda k: data.read(k, sample_rate_hz=RATE_HZ), keys))
    for i, item in enumerate(items):
        assert torch.equal(item.waveform, clips[i % 4][1])


class TestRefused:
    def test_a_script_is_not_run(self, tmp_path, monkeypatch):
        root = tmp_path / "scripted"
        root.mkdir()
        (root / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        given = []
        real = datasets.load_dataset
        monkeypatch.setattr(
            hugging_face.datasets, "load_dataset",
            lambda *a, **options: given.append(options) or real(*a, **options),
        )  # fmt: skip
        with pytest.raises(LookupError, match=r"scripted' .* cannot be loaded: .*"):
            HuggingFaceRows(str(root), OPTIONS, WORDS_COLUMNS, split="train")
        assert not (tmp_path / "ran").exists()
        assert given
        assert "trust_remote_code" not in given[0]

    def test_what_is_not_there(self, tmp_path, clips, monkeypatch):
        with pytest.raises(
            LookupError, match=r"'.*/no' \(subset None, split 'x'.*cannot be loaded"
        ):
            HuggingFaceRows(str(tmp_path / "no"), OPTIONS, WORDS_COLUMNS, split="x")
        monkeypatch.setattr(datasets_config, "HF_HUB_OFFLINE", True)
        with pytest.raises(LookupError, match=r"Without a network, download it first"):
            HuggingFaceRows("nobody/no-such-data", OPTIONS, WORDS_COLUMNS, split="train")
        spoken(clips).save_to_disk(tmp_path / "saved")
        with pytest.raises(LookupError, match=r"lacks the columns \['sound'\], expected them amo"):
            HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, TableColumns(audio="sound"))
        with pytest.raises(ValueError, match=r"has the sides .*expected both sides to be alike"):
            HuggingFaceRows(
                str(tmp_path / "saved"), OPTIONS, TableColumns(right="audio", wrong="id")
            )
        for file in (tmp_path / "saved").glob("*.arrow"):
            file.write_bytes(b"ARROW1")
        with pytest.raises(LookupError, match=r"cannot be loaded: .* Expected what save_to_disk"):
            HuggingFaceRows(str(tmp_path / "saved"), OPTIONS, WORDS_COLUMNS)

    def test_sound_beside_metadata_needs_torchcodec(self, tmp_path, clips, monkeypatch):
        """``datasets`` reads folders of sounds by its own encoder; we have the format "folder"."""
        monkeypatch.setitem(sys.modules, "torchcodec", None)
        root = tmp_path / "sounds"
        root.mkdir()
        (root / "0.wav").write_bytes(clips[0][0].read_bytes())
        (root / "metadata.jsonl").write_text('{"file_name": "0.wav", "id": "c0"}')
        with pytest.raises(LookupError, match=r"cannot be loaded: .* please install 'torchcodec'"):
            HuggingFaceRows(str(root), OPTIONS, WORDS_COLUMNS, split="train")

    def test_a_damaged_file(self, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "train.parquet").write_bytes(b"PAR1" + b"x" * 99 + b"PAR1")
        with pytest.raises(LookupError, match=r"folder' .* cannot be loaded"):
            HuggingFaceRows(str(tmp_path / "folder"), OPTIONS, WORDS_COLUMNS, split="train")


def test_a_run_gives_the_rows_of_the_clips_in_a_folder(tmp_path, clips):
    """The word table of the organism, from a folder of clips and from a data set of the same."""
    organism = slm_lens.load("organism")
    spoken(clips).save_to_disk(tmp_path / "saved")
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, (path, _, _) in enumerate(clips):
        (folder / f"c{i}.wav").write_bytes(path.read_bytes())
        (folder / f"c{i}.json").write_text(path.with_suffix(".json").read_text())
    columns = {"name_column": "id", "audio_column": "audio", "words_column": "words"}
    tables = []
    for data in (
        {"format": "folder", "path": str(folder)},
        {"format": "huggingface", "path": str(tmp_path / "saved"), **columns},
    ):
        entries = {"model": {"name": "given"}, "data": data, "phases": {"n_draws": 2}}
        out = str(tmp_path / "runs" / data["format"])
        config = run_config(entries | {"out": out, "tokens_per_batch": 1})
        tables.append(run_corpus(config, model=organism).words.collect())
    assert tables[0].equals(tables[1])
    assert np.unique(tables[0]["utterance"].to_numpy()).size == 4
