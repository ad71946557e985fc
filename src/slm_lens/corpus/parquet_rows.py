"""Rows of Parquet, as Hugging Face data sets store them: sound as bytes, words with times.

What the columns hold is in `slm_lens.corpus.row_items`.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slm_lens.corpus._arrow import bytes_of, checked_groups, n_bytes_of, texts_of
from slm_lens.corpus._parquet_footer import StatedGroup
from slm_lens.corpus.dataset import ITEM_ERRORS, ItemKey, ReadOptions
from slm_lens.corpus.items import Holds, Item, TrialItem
from slm_lens.corpus.row_items import RowItems
from slm_lens.corpus.table_columns import ColumnKind, TableColumns, kinds_of

_GROUPS_KEPT = 2
"""Row groups of a column that are held at once; the rows of a run are neighbours."""


class ParquetRows:
    """Rows of one file, or of all ``.parquet`` files of a folder, sorted by name.

    Args:
        path: the file or folder.
        options: how items are read.
        columns: which columns hold what.

    Raises:
        LookupError: there is no such file, or it lacks a column.
        ValueError: a file is no Parquet, or a column of trials holds something else, or another
            kind of thing than in the first file.
    """

    def __init__(self, path: str | Path, options: ReadOptions, columns: TableColumns) -> None:
        path = Path(path)
        self._files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        self._root = path if path.is_dir() else path.parent
        if not self._files or not all(f.is_file() for f in self._files):
            raise LookupError(f"ParquetRows: no Parquet at {str(path)!r}, expected a file of rows.")
        self._options, self._columns = options, columns
        self._lock = Lock()
        self._stated: list[tuple[StatedGroup, ...]] = []
        self._open = [self._checked(f) for f in self._files]
        kinds = self._kinds()
        self._rows = RowItems(columns, kinds, options, self._root)
        self._sound = {columns.audio, *(c for c, kind in kinds.items() if kind == "sound")}
        self.holds: Holds = columns.holds
        self.has_sound, self.has_words = self._rows.has_sound, self._rows.has_words
        self._kept: dict[str, OrderedDict[tuple[int, int], pa.ChunkedArray | str]] = {}
        self._groups: list[tuple[int, int, int]] = []
        start = 0
        for f, stated in enumerate(self._stated):
            for group, about in enumerate(stated):
                self._groups.append((f, group, start))
                start += about.n_rows
        self._starts = [start for _, _, start in self._groups]

    def _checked(self, path: Path) -> pq.ParquetFile:
        """A file with the columns.

        Raises:
            LookupError: it lacks one.
            ValueError: it is no Parquet.
        """  # noqa: DOC502 (LookupError is raised by require)
        try:
            about = pq.read_metadata(path)
            self._stated.append(checked_groups(path))
            texts = texts_of(about, self._columns.names())
            # A text that stands for many rows is kept once, as the file has it: written out, a file
            # of two kilobytes can fill any memory.
            file = pq.ParquetFile(path, metadata=about, read_dictionary=texts)
            names = file.schema_arrow.names
        except (pa.ArrowException, OSError, ValueError, LookupError) as error:
            raise ValueError(
                f"ParquetRows: {path.name} cannot be read ({error}), expected Parquet."
            ) from None
        self._columns.require(names, f"ParquetRows: {path.name}")
        return file

    def _kinds(self) -> dict[str, ColumnKind]:
        """What the columns of trials hold.

        Raises:
            ValueError: something else, or not the same in every file.
        """
        found = []
        for path, file in zip(self._files, self._open, strict=True):
            schema = file.metadata.schema.to_arrow_schema()
            types = {c: schema.field(c).type for c in self._columns.segments}
            found.append(kinds_of(self._columns, types, f"ParquetRows: {path.name}"))
            if found[-1] != found[0]:
                raise ValueError(
                    f"ParquetRows: {path.name} holds {found[-1]}, expected {found[0]}, as the "
                    "first file does. Give the files one by one."
                )
        return found[0]

    def item_keys(self) -> Iterator[ItemKey]:
        """Every row; the number counts over all files.

        Yields:
            Keys with a size of 0, since a row's is not known before it is read.
        """
        number = 0
        for f, file in enumerate(self._open):
            where = self._files[f].relative_to(self._root).as_posix()
            for row in range(file.metadata.num_rows):
                place = f"{where}:{row}"
                yield ItemKey(self._name(number, place), place, number, 0)
                number += 1

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of one row; of its columns only that of the word times is read.

        Args:
            key: which row.

        Returns:
            The words.
        """
        return self._rows.words(key.place, partial(self._value, key.number))

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item | TrialItem:
        """One row.

        Args:
            key: which row.
            sample_rate_hz: rate of the samples.

        Returns:
            The clip or trial.
        """
        return self._rows.read(key.place, partial(self._value, key.number), sample_rate_hz)

    def _name(self, number: int, place: str) -> str:
        """Name of a row; its place if it has none that can be read."""
        if self._columns.name is None:
            return place
        try:
            name = self._value(number, self._columns.name)
        except (*ITEM_ERRORS, pa.ArrowException):
            return place
        return str(name) if isinstance(name, str | int) and str(name).strip() else place

    def _value(self, number: int, column: str) -> Any:
        """One value; raises ValueError if it is too large or its row group cannot be read."""
        f, group, start = self._groups[bisect_right(self._starts, number) - 1]
        with self._lock:  # a ParquetFile is read by one thread at a time
            kept = self._kept.setdefault(column, OrderedDict())
            if (f, group) not in kept:
                try:
                    kept[f, group] = self._column(f, group, column)
                except ValueError as error:  # kept as well: each of its rows would try again
                    kept[f, group] = str(error)
                if len(kept) > _GROUPS_KEPT:
                    kept.popitem(last=False)
            values = kept[f, group]
        if isinstance(values, str):
            raise ValueError(values)
        row = values.slice(number - start, 1)
        limit = "max_clip_bytes" if column in self._sound else "max_row_bytes"
        size = bytes_of(row)
        self._options.limits.check(f"column {column!r} of row {number} in bytes", size, limit)
        return row[0].as_py()

    def _column(self, f: int, group: int, column: str) -> pa.ChunkedArray:
        """A column of one row group.

        Raises:
            ValueError: it is too large, or cannot be read.
        """
        where = f"column {column!r} of row group {group} of {self._files[f].name}"
        n_bytes = n_bytes_of(self._open[f].metadata, self._stated[f][group], column)
        self._options.limits.check(f"the size of {where} in bytes", n_bytes, "max_group_bytes")
        try:
            return self._open[f].read_row_group(group, columns=[column]).column(column)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where} cannot be read ({error}). Is the file damaged?") from None
