"""The footer of Parquet: held against pyarrow's reading of it, and damaged byte by byte."""

import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.corpus._parquet_footer import stated_groups

ROWS = [
    {
        "id": f"row {i}",
        "a": {"bytes": bytes(i), "path": None},
        "w": [{"word": "the", "start": 0.0, "end": 0.5}] * i,
        "is.odd": bool(i % 2),
    }
    for i in range(40)
]


def stated_by_pyarrow(path):
    about = pq.read_metadata(path)
    groups = []
    for g in range(about.num_row_groups):
        group = about.row_group(g)
        chunks = [group.column(i) for i in range(group.num_columns)]
        stated = [(c.path_in_schema, c.num_values, c.total_uncompressed_size) for c in chunks]
        groups.append((group.num_rows, stated))
    return about.num_rows, groups


@pytest.mark.parametrize("options", [{}, {"row_group_size": 7}, {"version": "1.0"}])
def test_it_is_read_as_pyarrow_reads_it(tmp_path, options):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, **options)
    n_rows, groups = stated_groups(path)
    ours = [(g.n_rows, [(c.path, c.n_values, c.n_bytes) for c in g.chunks]) for g in groups]
    assert (n_rows, ours) == stated_by_pyarrow(path)
    assert n_rows == 40
    assert len(groups) == (6 if "row_group_size" in options else 1)


@given(st.binary(max_size=40))
def test_any_bytes_are_no_footer(tmp_path_factory, footer):
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="its footer"):
        stated_groups(path)


@pytest.mark.parametrize(
    ("footer", "message"),
    [
        (b"", "its footer is cut off"),
        (b"\0", "lacks what Parquet's has, field 4"),
        # A list of one row group, that of one column, named by a number.
        (b"\x49\x1c\x19\x1c\x3c\x39\x15\x02\0\0\0\0", "whose name is no text"),
        (b"\x1c" * 40, "more than 32 structs in structs"),
        (b"\x16" + b"\xff" * 10, "a number of more than 64 bits"),
        (b"\x1b\x00", "a value of kind 11"),
        (b"\x18\x09abc", "is cut off"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, footer, message):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match=message):
        stated_groups(path)


READ_EACH = """
import sys
from pathlib import Path
from slm_lens.corpus.dataset import ITEM_ERRORS, ReadOptions
from slm_lens.corpus.parquet_rows import ParquetRows
from slm_lens.corpus.table_columns import TableColumns

path, n_read, n_refused = Path(sys.argv[1]), 0, 0
whole = path.read_bytes()
first = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
for at in range(first, len(whole)):
    for change in (1, 128):
        damaged = bytearray(whole)
        damaged[at] ^= change
        path.write_bytes(damaged)
        try:
            data = ParquetRows(path, ReadOptions(), TableColumns(audio="a", words="w"))
            for key in data.item_keys():
                data.words(key)
            n_read += 1
        except ITEM_ERRORS:
            n_refused += 1
print(n_read, "read,", n_refused, "refused")
"""


@pytest.mark.slow
def test_any_byte_of_it_may_be_wrong(tmp_path):
    """In a process of its own, which pyarrow's metadata would end at some of them."""
    path = tmp_path / "a.parquet"
    rows = [{"a": b"x", "w": [{"word": "the", "start": 0.0, "end": 0.5}]}] * 3
    pq.write_table(pa.Table.from_pylist(rows), path, store_schema=False)
    ended = subprocess.run(
        [sys.executable, "-c", READ_EACH, str(path)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    said = re.fullmatch(r"(\d+) read, (\d+) refused\n", ended.stdout)
    assert said is not None
    assert int(said[1]) > 100
    assert int(said[2]) > 100
