"""How large Parquet and Arrow values are, before they are values of Python; and a table in full."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slm_lens.corpus._parquet_footer import StatedGroup, stated_groups

_WIDEST = 8
"""Bytes of a number in memory, but for those whose length is stated."""

_LARGEST_TABLE = 1 << 30
"""Bytes of a table that is read in full."""

_TEXT = "BYTE_ARRAY"
_INDEX = 4
"""Bytes of a text that is kept once for all its rows."""


def read_table(given: Path | bytes) -> pl.DataFrame:
    """A Parquet file in full. Polars' own reader panics at some that are damaged.

    Args:
        given: the file, or its content.

    Returns:
        Its rows.

    Raises:
        ValueError: it cannot be read, or is too large.
    """
    try:
        about = pq.read_metadata(_source(given))
        checked_groups(given)
        texts = texts_of(about, about.schema.to_arrow_schema().names)
        kept = pq.ParquetFile(_source(given), metadata=about, read_dictionary=texts).read()
        if (size := sum(map(bytes_of, kept.columns))) > _LARGEST_TABLE:
            raise ValueError(f"it has {size} bytes, expected at most {_LARGEST_TABLE}")
        table = pq.ParquetFile(_source(given), metadata=about).read()
        table.validate(full=True)  # polars takes it on trust that texts are UTF-8
        kinds = [(name, _without_remarks(table.field(name).type)) for name in table.column_names]
        return pl.DataFrame(table.cast(pa.schema(kinds)))
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, LookupError) as error:
        raise ValueError(str(error)) from None


def _without_remarks(kind: pa.DataType) -> pa.DataType:
    """The same type without metadata of its parts: polars panics at some that are no UTF-8."""
    if pa.types.is_list(kind):
        return pa.list_(_without_remarks(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_without_remarks(kind.value_type))
    if pa.types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([(f.name, _without_remarks(f.type)) for f in inner])
    return kind


def texts_of(about: pq.FileMetaData, columns: Sequence[str]) -> list[str]:
    """Stored columns of text or bytes, such as that of the texts of a list of texts.

    Args:
        about: metadata of a file.
        columns: names of the columns that they lie in.

    Returns:
        Their paths.
    """
    stored = map(about.schema.column, range(about.num_columns))
    texts = [c.path for c in stored if c.physical_type == _TEXT]
    return [path for path in texts if any(_lies_in(path, column) for column in columns)]


def n_bytes_of(about: pq.FileMetaData, group: StatedGroup, column: str) -> int:
    """Bytes of a column of a row group, at least: what is written once may be many values.

    Args:
        about: metadata of the file.
        group: the row group.
        column: name of the column.

    Returns:
        Bytes in memory, texts written once.
    """
    widths = {}
    for stored in map(about.schema.column, range(about.num_columns)):
        is_text = stored.physical_type == _TEXT
        widths[stored.path] = _INDEX if is_text else max(stored.length, _WIDEST)
    return sum(
        max(chunk.n_bytes, chunk.n_values * widths.get(chunk.path, _WIDEST))
        for chunk in group.chunks
        if _lies_in(chunk.path, column)
    )


def _lies_in(path: str, column: str) -> bool:
    """Whether a stored column is a column, or a part of one; names may have dots."""
    return path == column or path.startswith(column + ".")


def _source(given: Path | bytes) -> Path | pa.BufferReader:
    return pa.BufferReader(given) if isinstance(given, bytes) else given


def checked_groups(given: Path | bytes) -> tuple[StatedGroup, ...]:
    """Row groups of a file, which may not state more rows than it can have.

    Args:
        given: the file, or its content.

    Returns:
        What its footer states of them.

    Raises:
        ValueError: the row groups have another number of rows than the file, or there is less
            than a byte for each row; or the footer cannot be read.
    """
    n_rows, groups = stated_groups(given)
    rows = [group.n_rows for group in groups]
    n_bytes = len(given) if isinstance(given, bytes) else given.stat().st_size
    if min(rows, default=0) < 0 or sum(rows) != n_rows or n_rows > n_bytes:
        raise ValueError(f"it states {n_rows} rows, its row groups {sum(rows)}, in {n_bytes} bytes")
    return groups


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
