"""Data sets that claim more than they are: sizes, rows, lengths, links in a circle."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_datasets import OPTIONS, WORDS, as_structs, line, parquet, read, refused, sound_bytes

from slm_lens.corpus.clip_folder import ClipFolder
from slm_lens.corpus.dataset import Limits, ReadOptions
from slm_lens.corpus.jsonl_units import JsonlUnits
from slm_lens.corpus.parquet_rows import ParquetRows
from slm_lens.corpus.table_columns import TableColumns


def test_what_is_written_once_for_many_rows_is_kept_once(tmp_path):
    """Of two kilobytes of Parquet, texts took gigabytes when each was written out."""
    text = "x" * 10_000
    columns = {
        "id": ["name " + text] * 200,
        "a": [{"bytes": text.encode(), "path": None}] * 200,
        "w": [[{"word": text, "start": 0.0, "end": 1.0}] * 20] * 200,
    }
    parquet(tmp_path, columns, group=200, name="id", audio="a", words="w")
    options = ReadOptions(Limits(max_row_bytes=100_000))
    before = pa.total_allocated_bytes()
    data = ParquetRows(tmp_path / "data", options, TableColumns(name="id", audio="a", words="w"))
    key = next(data.item_keys())
    assert key.name == "name " + text
    message = r"column 'w' of row 0 in bytes has 200\d+, expected at most max_row_bytes=100000"
    with pytest.raises(ValueError, match=message):
        data.words(key)
    assert "libsndfile cannot decode" in refused(data)
    assert pa.total_allocated_bytes() - before < 1 << 20  # written out: 44 MB


def test_numbers_that_are_written_once_count_as_many(tmp_path):
    options = ReadOptions(Limits(max_group_bytes=1 << 20))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "x.parquet"
    pq.write_table(pa.table({"u": [[7] * 200_000]}), path)
    assert path.stat().st_size < 5000
    data = ParquetRows(path, options, TableColumns(units="u", frame_rate_hz=25.0))
    assert "has 1.6e+06, expected at most max_group_bytes" in refused(data)


def test_a_file_may_not_state_more_rows_than_it_has(tmp_path):
    """The number of rows, in the footer's Thrift: field 3 of the file and of the row group."""
    data = parquet(tmp_path, {"a": [b"x"] * 77}, group=77, audio="a")
    assert len(list(data.item_keys())) == 77
    path = tmp_path / "data" / "x.parquet"
    whole, ours, theirs = path.read_bytes(), b"\x16\x9a\x01", b"\x16\xfe\x7f"  # 77 and 8191
    path.write_bytes(whole.replace(ours, theirs))
    with pytest.raises(ValueError, match=r"states 8191 rows, its row groups 8191, in \d+ bytes"):
        ParquetRows(path, OPTIONS, TableColumns(audio="a"))
    path.write_bytes(theirs.join(whole.rsplit(ours, 1)))  # only the row group's, which is last
    with pytest.raises(ValueError, match=r"states 77 rows, its row groups 8191, in"):
        ParquetRows(path, OPTIONS, TableColumns(audio="a"))


@pytest.mark.parametrize("wide", ["large_string", "string"])
def test_texts_of_either_kind_are_read_as_they_are(tmp_path, wide):
    kinds = {"large_string": (pa.large_string(), pa.large_binary()), "string": (pa.string(), None)}
    text, sound = kinds[wide]
    words = pa.list_(pa.struct({"word": text, "start": pa.float64(), "end": pa.float64()}))
    columns = {
        "id": pa.array(["p", None], text),
        "a": pa.array([sound_bytes(tmp_path), None], sound or pa.binary()),
        "w": pa.array([as_structs(WORDS), None], words),
    }
    data = parquet(tmp_path, columns, name="id", audio="a", words="w")
    first, second = data.item_keys()
    assert (first.name, second.name) == ("p", "x.parquet:1")
    assert data.words(first) == ("the", "zebra")
    assert read(data).waveform.numel() == 16_000
    assert "got a NoneType" in refused(data, 1)


def test_links_in_a_circle_are_an_error_of_their_item(tmp_path):
    (tmp_path / "a.flac").symlink_to("a.flac")
    (tmp_path / "a.json").write_text(json.dumps({"file_name": "a", "aligned_text": WORDS}))
    assert "leaves the data's folder" in refused(ClipFolder(tmp_path, OPTIONS))


@pytest.mark.parametrize("rate_hz", [0.0, float("inf"), float("nan")])
def test_frames_in_a_second_are_a_number(tmp_path, rate_hz):
    (tmp_path / "f.jsonl").touch()
    with pytest.raises(ValueError, match="JsonlUnits: got frame_rate_hz="):
        JsonlUnits(tmp_path / "f.jsonl", OPTIONS, frame_rate_hz=rate_hz)
    with pytest.raises(ValueError, match="TableColumns: got units with frame_rate_hz="):
        TableColumns(units="u", frame_rate_hz=rate_hz)


def test_a_limit_may_be_none_at_all(tmp_path):
    options = ReadOptions(Limits(max_clip_s=float("inf")))
    (tmp_path / "f.jsonl").write_text(line())
    data = JsonlUnits(tmp_path / "f.jsonl", options, frame_rate_hz=25.0)
    assert read(data).units.duration_s == 1.0


def test_a_damaged_row_group_is_read_once(tmp_path, monkeypatch):
    parquet(tmp_path, {"a": [b"x" * 999] * 50}, group=50, audio="a")
    path = tmp_path / "data" / "x.parquet"
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 9] = b"\xff" * 9
    path.write_bytes(bytes(content))
    n_reads, whole = [], pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, *args: Any, **options: Any) -> pa.Table:
        n_reads.append(args)
        return whole(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    data = ParquetRows(path, OPTIONS, TableColumns(audio="a"))
    assert {refused(data, i).partition("(")[0] for i in range(50)} == {
        "column 'a' of row group 0 of x.parquet cannot be read "
    }
    assert len(n_reads) == 1
