"""How large Parquet and Arrow values are, before they are values of Python; and a table in full."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_WIDEST = 8
"""Bytes of a number in memory, but for those whose length is stated."""

_LARGEST_TABLE = 1 << 30
"""Bytes of a table that is read in full."""

_INDEX = 4
"""Bytes of a text that is kept once for all its rows."""


@dataclass(frozen=True)
class Leaf:
    """A column as Parquet stores it: that of the texts of a list of texts, say.

    Attributes:
        path: its name, with those of the columns that it lies in.
        is_text: whether it has text or bytes.
        n_bytes: of a row group, as its metadata state them.
        n_values: the same.
        n_bytes_of_value: that each value takes in memory at least.
    """

    path: str
    is_text: bool
    n_bytes: int
    n_values: int
    n_bytes_of_value: int


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet file in full. Polars' own reader panics at some that are damaged.

    Args:
        path: the file.

    Returns:
        Its rows.

    Raises:
        ValueError: it cannot be read, or is too large.
    """
    try:
        about = pq.read_metadata(path)
        check_rows(about, path.stat().st_size)
        names = about.schema.to_arrow_schema().names
        texts = [leaf.path for leaf in leaves_of(about, names) if leaf.is_text]
        kept = pq.ParquetFile(path, metadata=about, read_dictionary=texts).read()
        if (size := sum(map(bytes_of, kept.columns))) > _LARGEST_TABLE:
            raise ValueError(f"it has {size} bytes, expected at most {_LARGEST_TABLE}")
        return pl.DataFrame(pq.ParquetFile(path, metadata=about).read())
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, LookupError) as error:
        raise ValueError(str(error)) from None


def leaves_of(
    about: pq.FileMetaData, columns: Sequence[str], group: int | None = None
) -> list[Leaf]:
    """The stored columns of columns.

    Args:
        about: metadata of a file.
        columns: names of columns.
        group: row group whose sizes are wanted; None for no sizes.

    Returns:
        One or more for each column.
    """
    found = []
    for i in range(about.num_columns):
        stored = about.schema.column(i)
        if stored.path.split(".")[0] in columns:
            is_text = stored.physical_type == "BYTE_ARRAY"
            chunk = None if group is None else about.row_group(group).column(i)
            n_bytes = 0 if chunk is None else chunk.total_uncompressed_size
            n_values = 0 if chunk is None else chunk.num_values
            width = _INDEX if is_text else max(stored.length, _WIDEST)
            found.append(Leaf(stored.path, is_text, n_bytes, n_values, width))
    return found


def check_rows(about: pq.FileMetaData, n_bytes: int) -> None:
    """Refuse a file that states more rows than it can have.

    Args:
        about: its metadata.
        n_bytes: its size.

    Raises:
        ValueError: the row groups have another number of rows, or there is less than a byte for
            each row.
    """
    rows = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) != about.num_rows or about.num_rows > n_bytes:
        raise ValueError(
            f"it states {about.num_rows} rows, its row groups {sum(rows)}, in {n_bytes} bytes"
        )


def bytes_of(values: pa.ChunkedArray | pa.Array) -> int:
    """Bytes of values when each is written out.

    Args:
        values: some rows of a column.

    Returns:
        Bytes of texts and numbers, and eight for each entry of a list.
    """
    if isinstance(values, pa.ChunkedArray):
        return sum(map(bytes_of, values.chunks))
    if isinstance(values, pa.ExtensionArray):
        return bytes_of(values.storage)
    if isinstance(values, pa.DictionaryArray):
        if not _is_text(values.type.value_type):
            return _WIDEST * len(values)
        lengths = pc.call_function("binary_length", [values.dictionary]).take(values.indices)
        return pc.call_function("sum", [lengths]).as_py() or 0
    if isinstance(values, pa.StructArray):
        return sum(map(bytes_of, values.flatten()))
    if pa.types.is_nested(values.type) and not pa.types.is_union(values.type):
        inner = values.flatten()
        return 8 * len(inner) + bytes_of(inner)
    return values.nbytes


def _is_text(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
    )  # fmt: skip
    return any(test(kind) for test in tests)
