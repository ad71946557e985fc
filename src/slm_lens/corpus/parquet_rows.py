"""Rows of Parquet, as Hugging Face data sets store them: sound as bytes, words with times.

Columns are named by the caller. An audio column holds ``{"bytes", "path"}`` as Hugging Face's
``Audio`` feature is stored (a path counts from the data's folder), or bytes. Word times are a list
of ``{"word", "start", "end"}``, of ``[word, start, end]``, or JSON of either. Units are a list of
whole numbers, with durations in frames in a column of their own, if wanted.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slm_lens.corpus._arrow import bytes_of, checked_groups, n_bytes_of, texts_of
from slm_lens.corpus._parquet_footer import StatedGroup
from slm_lens.corpus._timings import alignment_of_row, units_of_row
from slm_lens.corpus.dataset import ITEM_ERRORS, Item, ItemKey, ReadOptions, inside
from slm_lens.errors import AudioError
from slm_lens.speech.audio import decode_audio

_GROUPS_KEPT = 2
"""Row groups of a column that are held at once; the rows of a run are neighbours."""


@dataclass(frozen=True)
class ParquetColumns:
    """Which columns are read.

    Attributes:
        name: names of the items; None names them by file and row.
        audio: sound; None if there are units.
        words: word times.
        units: units; None if there is sound.
        durations: frames of each unit; None for one each.
        frame_rate_hz: frames in a second, of units.

    Raises:
        ValueError: there is neither sound nor units, or both; or units without a frame rate.
    """

    name: str | None = None
    audio: str | None = None
    words: str | None = None
    units: str | None = None
    durations: str | None = None
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        if (self.audio is None) == (self.units is None):
            raise ValueError(
                f"ParquetColumns: got audio={self.audio!r} and units={self.units!r}, expected the "
                "name of one of these columns."
            )
        if self.units is not None and not 0 < (self.frame_rate_hz or 0) < inf:
            raise ValueError(
                f"ParquetColumns: got units with frame_rate_hz={self.frame_rate_hz}, expected the "
                "frames in a second of these units."
            )

    def names(self) -> list[str]:
        """Names of the columns that are read.

        Returns:
            The names.
        """
        given = (self.name, self.audio, self.words, self.units, self.durations)
        return [c for c in given if c is not None]


class ParquetRows:
    """Rows of one file, or of all ``.parquet`` files of a folder, sorted by name.

    Args:
        path: the file or folder.
        options: how items are read.
        columns: which columns hold what.

    Raises:
        LookupError: there is no such file, or it lacks a column.
        ValueError: a file is no Parquet.
    """

    def __init__(self, path: str | Path, options: ReadOptions, columns: ParquetColumns) -> None:
        path = Path(path)
        self._files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        self._root = path if path.is_dir() else path.parent
        if not self._files or not all(f.is_file() for f in self._files):
            raise LookupError(f"ParquetRows: no Parquet at {str(path)!r}, expected a file of rows.")
        self._options, self._columns = options, columns
        self.has_sound, self.has_words = columns.audio is not None, columns.words is not None
        self._lock = Lock()
        self._stated: list[tuple[StatedGroup, ...]] = []
        self._open = [self._checked(f) for f in self._files]
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
        """
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
        lacking = [c for c in self._columns.names() if c not in names]
        if lacking:
            raise LookupError(
                f"ParquetRows: {path.name} lacks the columns {lacking}, expected them among "
                f"{names}. Name the columns of your data."
            )
        return file

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
        return tuple(w.word for w in self._alignment(key, None))

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item:
        """One row.

        Args:
            key: which row.
            sample_rate_hz: rate of the samples.

        Returns:
            The item.
        """
        columns, limits = self._columns, self._options.limits
        if columns.units is not None:
            durations = columns.durations and self._value(key.number, columns.durations)
            ids = self._value(key.number, columns.units)
            assert columns.frame_rate_hz is not None
            units = units_of_row(ids, durations, columns.frame_rate_hz, key.place, limits)
            return Item(units=units, alignment=self._alignment(key, units.duration_s))
        assert columns.audio is not None
        assert sample_rate_hz is not None
        content = self._sound(key, self._value(key.number, columns.audio))
        limits.check(f"the size of {key.place} in bytes", len(content), "max_clip_bytes")
        waveform = decode_audio(
            content,
            name=key.place,
            sample_rate_hz=sample_rate_hz,
            max_duration_s=limits.max_clip_s,
        )
        duration_s = waveform.numel() / sample_rate_hz
        return Item(waveform=waveform, alignment=self._alignment(key, duration_s))

    def _alignment(self, key: ItemKey, clip_duration_s: float | None) -> Any:
        assert self._columns.words is not None
        timings = self._value(key.number, self._columns.words)
        return alignment_of_row(timings, key.place, self._options, clip_duration_s)

    def _sound(self, key: ItemKey, value: object) -> bytes:
        """Bytes of a sound file.

        Raises:
            AudioError: the column holds something else.
        """
        path = None
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if isinstance(value, bytes):
            return value
        if isinstance(path, str) and value is None:
            file = inside(self._root, path)
            size = file.stat().st_size
            self._options.limits.check(f"the size of {path!r} in bytes", size, "max_clip_bytes")
            return file.read_bytes()
        raise AudioError(
            f"{key.place}: got a {type(value).__name__} in {self._columns.audio!r}, expected the "
            "bytes of a sound file, or its path in the data's folder."
        )

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
        limit = "max_clip_bytes" if column == self._columns.audio else "max_row_bytes"
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
