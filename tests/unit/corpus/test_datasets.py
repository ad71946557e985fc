"""Data sets: what they list, what they read, and what they refuse of one item."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.corpus.clip_folder import ClipFolder
from slm_lens.corpus.dataset import (
    ITEM_ERRORS,
    Dataset,
    Limits,
    ReadOptions,
    check_words,
    inside,
    printable,
)  # fmt: skip
from slm_lens.corpus.jsonl_units import JsonlUnits
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.parquet_rows import ParquetColumns, ParquetRows
from slm_lens.corpus.plain_text import PlainText
from slm_lens.corpus.run_config import DataConfig

OPTIONS = ReadOptions()
WORDS = [[" the", 0.0, 0.4], [" zebra", 0.4, 0.9]]


def line(**changes):
    row = {"units": [3, 4, 5], "duration": [10, 10, 5], "file_name": "a.flac"}
    return json.dumps(row | {"aligned_text": WORDS} | changes)


def jsonl(path, lines, **options):
    path.write_text("\n".join(lines) + "\n")
    return JsonlUnits(path, OPTIONS, frame_rate_hz=25.0, **options)


def read(data, number=0) -> Any:
    return data.read(list(data.item_keys())[number], sample_rate_hz=16_000)


def refused(data, number=0):
    with pytest.raises(ITEM_ERRORS) as error:
        read(data, number)
    return str(error.value)


def test_lines_of_units_with_their_words(tmp_path):
    data = jsonl(tmp_path / "f.jsonl", [line(), "", line(file_name="b.flac", duration=None)])
    assert isinstance(data, Dataset)
    first, second = data.item_keys()
    assert (first.name, first.place, second.name, second.place) == (
        "a", "f.jsonl:1", "b", "f.jsonl:3",
    )  # fmt: skip
    assert data.words(second) == ("the", "zebra")
    item: Any = data.read(first, sample_rate_hz=None)
    assert item.units.ids.tolist() == [3, 4, 5]
    assert item.units.durations_frames.tolist() == [10, 10, 5]
    assert item.units.duration_s == 1.0
    assert [(w.word, w.start_s, w.end_s) for w in item.alignment] == [
        ("the", 0.0, 0.4), ("zebra", 0.4, 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["file", "folder"])
def test_words_of_a_second_file_or_of_a_folder(tmp_path, where):
    words = json.dumps({"file_name": "a.flac", "aligned_text": WORDS})
    metadata = tmp_path / "meta"
    if where == "folder":
        metadata.mkdir()
        (metadata / "a.json").write_text(words)
    else:
        metadata.write_text('{"file_name": "z", "aligned_text": []}\n' + words)
    rows = [line(aligned_text=None), line(aligned_text=None, file_name="none")]
    data = jsonl(tmp_path / "f.jsonl", rows, metadata=metadata)
    assert [w.word for w in read(data).alignment] == ["the", "zebra"]
    assert "expected" in refused(data, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "Expecting"),
        ("[1]", "got a list, expected a JSON object"),
        (line(units="abc"), "units that are no list of whole numbers"),
        (line(units=[1.5]), "units that are no list of whole numbers"),
        (line(units=[2**40]), "units that are no list of whole numbers"),
        (line(duration=[1]), "3 units and 1 durations"),
        (line(duration=[10**6] * 3), r"units of 120000\.0 s, expected at most max_clip_s=120"),
        (line(aligned_text=None), "got no `aligned_text`"),
        (line(aligned_text="abc"), "Expecting value"),
        (line(aligned_text=7), "got a int, expected a list"),
        (line(aligned_text=[["a", 0, 9]]), "clip"),
        (line(aligned_text=[["a", 0, 0.1]] * 10_001), "max_words=10000"),
        (line(aligned_text=[["\udcff", 0, 0.1]]), "half a character"),
        ('{"x": "' + "y" * (17 << 20) + '"}', "max_row_bytes"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_an_error_of_that_line(tmp_path, row, message):
    data = jsonl(tmp_path / "f.jsonl", [row, line()])
    with pytest.raises(ITEM_ERRORS, match=message):
        read(data, 0)
    assert len(read(data, 1).units) == 3


def test_absent_files_are_told(tmp_path):
    for open_it in (
        lambda: JsonlUnits(tmp_path / "no", OPTIONS, frame_rate_hz=25.0),
        lambda: PlainText(tmp_path / "no", OPTIONS),
        lambda: ParquetRows(tmp_path / "no", OPTIONS, ParquetColumns(audio="a")),
    ):
        with pytest.raises(LookupError, match="expected"):
            open_it()


def test_a_folder_needs_a_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(1600) / 2, 16_000)
    data = ClipFolder(tmp_path, OPTIONS)
    (key,) = data.item_keys()
    with pytest.raises(ValueError, match="got no sample rate"):
        data.read(key, sample_rate_hz=None)


def sound_bytes(tmp_path, n=16_000):
    soundfile.write(tmp_path / "one.wav", np.sin(np.arange(n) / 9) / 2, 16_000)
    return (tmp_path / "one.wav").read_bytes()


def parquet(tmp_path, columns, *, group=2, **names):
    path = tmp_path / "data" / "x.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return ParquetRows(path.parent, OPTIONS, ParquetColumns(**names))


def as_structs(words):
    return [{"word": w, "start": s, "end": e} for w, s, e in words]


def test_rows_with_sound_as_hugging_face_stores_it(tmp_path):
    """Three renderings in columns of their own, and times of the prompt's words."""
    sound = {"bytes": sound_bytes(tmp_path), "path": "ignored.wav"}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "beside.wav").write_bytes(sound["bytes"])
    prompts = [sound, {"bytes": None, "path": "beside.wav"}, {"bytes": None, "path": "../one.wav"}]
    columns = {
        "id": ["p", "q", None],
        "prompt_audio": prompts,
        "correct_audio": [sound] * 3,
        "counterfactual_audio": [sound] * 3,
        "prompt_words": [as_structs(WORDS)] * 3,
    }
    data = parquet(tmp_path, columns, name="id", audio="prompt_audio", words="prompt_words")
    keys = list(data.item_keys())
    assert [k.name for k in keys] == ["p", "q", "x.parquet:2"]
    assert data.words(keys[0]) == ("the", "zebra")
    for number in (0, 1):
        item = read(data, number)
        assert item.waveform.shape == (16_000,)
        assert [w.word for w in item.alignment] == ["the", "zebra"]
    assert "leaves the data's folder" in refused(data, 2)


def test_rows_with_units_and_times_as_json(tmp_path):
    columns = {"u": [[1, 2, 3], [4]], "d": [[10, 10, 5], None], "w": [json.dumps(WORDS)] * 2}
    data = parquet(tmp_path, columns, units="u", durations="d", words="w", frame_rate_hz=25.0)
    assert not data.has_sound
    assert read(data).units.duration_s == 1.0
    assert "clip" in refused(data, 1)  # one unit of one frame is shorter than the words


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "got 0 bytes"),
        (b"nothing", "libsndfile cannot decode"),
        (None, "got a NoneType in 'a', expected the bytes"),
    ],
)
def test_a_row_that_cannot_be_used_is_an_error_of_that_row(tmp_path, value, message):
    columns = {
        "a": pa.array([value, sound_bytes(tmp_path)], pa.binary()),
        "w": [json.dumps(WORDS)] * 2,
    }
    data = parquet(tmp_path, columns, audio="a", words="w")
    assert message in refused(data, 0)
    assert read(data, 1).waveform is not None


def test_a_damaged_row_group_is_an_error_of_its_rows(tmp_path):
    sounds = [sound_bytes(tmp_path, n) for n in (16_000, 16_001, 16_002, 16_003)]
    columns = {"a": sounds, "w": [json.dumps(WORDS)] * 4}
    data = parquet(tmp_path, columns, audio="a", words="w")
    path = tmp_path / "data" / "x.parquet"
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(bytes(content))
    data = ParquetRows(path, OPTIONS, ParquetColumns(audio="a", words="w"))
    assert "cannot be read" in refused(data, 0)
    assert read(data, 3).waveform.shape == (16_003,)


def test_columns_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(LookupError, match=r"lacks the columns \['sound'\]"):
        parquet(tmp_path, {"a": [b"x"]}, audio="sound")
    (tmp_path / "y.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="expected Parquet"):
        ParquetRows(tmp_path / "y.parquet", OPTIONS, ParquetColumns(audio="a"))
    with pytest.raises(ValueError, match="audio=None and units=None"):
        ParquetColumns()
    with pytest.raises(ValueError, match="units with frame_rate_hz=None"):
        ParquetColumns(units="u")


def test_lines_of_text(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"the zebra\n\n  \nthe lion\n\xff\xfe\nlast")
    data = PlainText(tmp_path / "t.txt", OPTIONS)
    keys = list(data.item_keys())
    assert [k.place for k in keys] == ["t.txt:1", "t.txt:4", "t.txt:5", "t.txt:6"]
    assert data.words(keys[1]) == ("the", "lion")
    assert read(data, 3).text == "last"
    assert "decode" in refused(data, 2)


def test_paths_stay_inside(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "root" / "in").touch()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    assert inside(tmp_path / "root", "in") == (tmp_path / "root" / "in").resolve()
    for path in ("../secret", str(tmp_path / "secret"), "link", "in\0x", "../root2/x"):
        with pytest.raises(ValueError, match="leaves the data's folder"):
            inside(tmp_path / "root", path)
    with pytest.raises(LookupError, match="expected a file"):
        inside(tmp_path / "root", "absent")


def test_limits():
    with pytest.raises(ValueError, match="max_words=0, expected a positive number"):
        Limits(max_words=0)
    with pytest.raises(ValueError, match=r"the clip has 121, expected at most max_clip_s=120"):
        Limits().check("the clip", 121, "max_clip_s")
    with pytest.raises(ValueError, match="expected at most max_words=1"):
        check_words(("a", "b"), Limits(max_words=1))


@given(st.text(st.characters(exclude_categories=[])))
def test_what_is_printable_fits_in_utf_8(text):
    assert printable(printable(text).encode().decode()) == printable(text)
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert printable(text) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
            st.sampled_from(["units", "duration", "file_name", "aligned_text", "word", "start"]),
            inner, max_size=5,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_json_is_read_or_refused_as_an_item(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    data = jsonl(path, [json.dumps(value), line()])
    for key in data.item_keys():
        for use in (data.words, lambda k: data.read(k, sample_rate_hz=None)):
            try:
                use(key)
            except ITEM_ERRORS:
                continue


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": "text", "frame_rate_hz": 25.0}, r"got \['frame_rate_hz'\] for data of format"),
        ({"format": "jsonl_units"}, "got units without frame_rate_hz"),
    ],
)
def test_entries_belong_to_a_format(tmp_path, entries, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(DataConfig(path=str(tmp_path), **entries), Limits())


def test_each_format_opens(tmp_path):
    (tmp_path / "f.jsonl").write_text(line())
    (tmp_path / "x.parquet").unlink(missing_ok=True)
    pq.write_table(pa.table({"a": [b"x"]}), tmp_path / "x.parquet")
    (tmp_path / "a.wav").touch()
    formats: tuple[tuple[dict[str, Any], type], ...] = (
        ({"format": "folder", "path": ""}, ClipFolder),
        ({"format": "text", "path": "f.jsonl"}, PlainText),
        ({"format": "jsonl_units", "path": "f.jsonl", "frame_rate_hz": 25.0}, JsonlUnits),
        ({"format": "parquet", "path": "x.parquet", "audio_column": "a"}, ParquetRows),
    )
    for entries, kind in formats:
        path = str(tmp_path / entries.pop("path"))
        data = open_dataset(DataConfig(path=path, **entries), Limits())
        assert type(data) is kind
        assert len(list(data.item_keys())) == 1
