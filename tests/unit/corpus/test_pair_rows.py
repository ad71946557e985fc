"""A table of pairs as a data set: what is listed, what is read, what is an error of one row."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from pair_tables import ROWS, row, write_table
from short_clips import write_clips

from slm_lens.corpus.dataset import Dataset, Limits, ReadOptions
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.pair_rows import PairRows
from slm_lens.corpus.run_config import DataConfig
from slm_lens.speech.audio import read_audio

SPEECH = {"clean_modality": "speech", "corrupted_modality": "speech"}


def opened(path, **limits) -> Any:
    return open_dataset(DataConfig(format="pairs", path=str(path)), Limits(**limits))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_rows_are_listed_and_read(tmp_path, ending):
    path = tmp_path / f"pairs.{ending}"
    frame = pl.DataFrame(ROWS, infer_schema_length=None)
    getattr(frame, {"csv": "write_csv", "jsonl": "write_ndjson"}.get(ending, "write_parquet"))(path)
    data = opened(path)
    assert isinstance(opened(path), Dataset)
    assert (data.holds, data.has_sound, data.has_words) == ("pairs", False, False)
    keys = list(data.item_keys())
    assert [k.name for k in keys] == [r["name"] for r in ROWS]
    assert [k.place for k in keys] == [f"pairs.{ending}:{i}" for i in range(1, 7)]
    assert [k.number for k in keys] == list(range(6))
    # Letters of all columns: lives, the desert is, the savanna is, text, text, lives, striped.
    assert keys[0].size_bytes == 5 + 13 + 14 + 4 + 4 + 5 + 7
    with ThreadPoolExecutor(4) as pool:
        items = list(pool.map(lambda key: data.read(key, sample_rate_hz=None), keys))
    assert [x.clean.text for x in items] == [r["clean"] for r in ROWS]
    assert [x.corrupted.text for x in items] == [r["corrupted"] for r in ROWS]
    assert [(x.answer, x.foil, x.continue_in) for x in items] == [
        (r["answer"], r["foil"], r["continue_in"]) for r in ROWS
    ]
    assert data.words(keys[0]) == ()


def test_sound_is_read_when_its_row_is(tmp_path):
    (name,) = write_clips(tmp_path, 1)
    rows = [
        row("spoken", f"{name}.flac", "the red dog", "<Un1>", None) | {"clean_modality": "speech"},
        row("absent", "absent.flac", "absent.flac", "<Un1>", None) | SPEECH,
    ]
    data = opened(write_table(tmp_path / "pairs.csv", rows))
    assert data.has_sound
    spoken, absent = data.item_keys()
    text_bytes = len(f"spoken{name}.flacthe red dogspeechtext<Un1>")
    assert spoken.size_bytes == text_bytes + (tmp_path / f"{name}.flac").stat().st_size
    item = data.read(spoken, sample_rate_hz=16_000)
    sound = read_audio(tmp_path / f"{name}.flac", sample_rate_hz=16_000)
    assert torch.equal(item.clean.waveform, sound)
    assert len(item.clean.alignment) > 2
    assert item.corrupted.text == "the red dog"
    assert (item.foil, item.continue_in) == (None, None)
    with pytest.raises(ValueError, match=r"PairRows: pairs.csv, row 2, column clean: got 'absent"):
        data.read(absent, sample_rate_hz=16_000)


def _link(folder):
    (folder / "clip.flac").rename(folder.parent / "clip.flac")
    (folder / "clip.flac").symlink_to(folder.parent / "clip.flac")


def _linked_words(folder):
    (folder / "clip.json").rename(folder.parent / "clip.json")
    (folder / "clip.json").symlink_to(folder.parent / "clip.json")


@pytest.mark.parametrize(
    ("damage", "limits", "message"),
    [
        (_link, {}, "leaves the table's folder"),
        (_linked_words, {}, "leaves the table's folder"),
        (None, {"max_clip_s": 0.1}, r"expected at most 0\.1 s"),
        (None, {"max_clip_bytes": 99}, "size of clip.flac in bytes has .* max_clip_bytes=99"),
        (None, {"max_row_bytes": 99}, "size of clip.json in bytes has .* max_row_bytes=99"),
        (None, {"max_words": 1}, "the number of words has .* max_words=1"),
    ],
)
def test_hostile_sound_is_an_error_of_its_row(tmp_path, damage, limits, message):
    folder = tmp_path / "data"
    folder.mkdir()
    (name,) = write_clips(folder, 1)
    for ending in ("flac", "json"):
        (folder / f"{name}.{ending}").rename(folder / f"clip.{ending}")
    if damage is not None:
        damage(folder)
    spoken = row("a", "clip.flac", "clip.flac", "<Un1>", None) | SPEECH
    data = opened(write_table(folder / "pairs.csv", [spoken]), **limits)
    (key,) = data.item_keys()
    with pytest.raises(ValueError, match=rf"row 1, column clean: .*{message}"):
        data.read(key, sample_rate_hz=16_000)


def test_limits_of_text(tmp_path):
    path = write_table(tmp_path / "pairs.csv", [row("a", "the " * 9, "is", "a", None)])
    data = opened(path, max_words=8)
    (key,) = data.item_keys()
    with pytest.raises(ValueError, match=r"column clean: the number of words has 9"):
        data.read(key, sample_rate_hz=None)
    with pytest.raises(ValueError, match=r"row 1 in bytes has 48, expected .* max_row_bytes=40"):
        opened(path, max_row_bytes=40).read(key, sample_rate_hz=None)


def test_other_columns_are_an_error_of_the_data(tmp_path):
    path = tmp_path / "pairs.csv"
    pl.DataFrame([{k: v for k, v in ROWS[0].items() if k != "answer"}]).write_csv(path)
    with pytest.raises(ValueError, match=r"PairRows: pairs.csv lacks the columns \['answer'\]"):
        opened(path)
    with pytest.raises(LookupError, match=r"PairRows: no file at .*none.csv"):
        PairRows(tmp_path / "none.csv", ReadOptions())


def test_entries_of_other_formats_are_refused():
    config = DataConfig(format="pairs", path="x.csv", words_column="words")
    with pytest.raises(ValueError, match=r"got \['words_column'\] for data of format 'pairs'"):
        open_dataset(config, Limits())


def test_names_that_are_empty_are_told_by_their_place(tmp_path):
    path = write_table(tmp_path / "pairs.csv", [ROWS[0] | {"name": "  "}])
    (key,) = opened(path).item_keys()
    assert key.name == "pairs.csv:1"
    assert isinstance(path, Path)
