"""A table of pairs of runs as a data set; its columns are those of `pairs`.

The table, which is text alone, is held in memory; the sound that its rows name is read one row at
a time. A row that cannot be used is an error of that row, a table of other columns one of the
data set.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import polars as pl

from slm_lens.corpus._arrow import read_table
from slm_lens.corpus.clip_folder import read_clip
from slm_lens.corpus.dataset import ItemKey, ReadOptions, inside
from slm_lens.corpus.folder import alignment_beside
from slm_lens.corpus.items import Holds, Item, PairItem
from slm_lens.errors import SlmLensError
from slm_lens.sequence.word_span import MODALITIES, Modality

_REQUIRED = ("name", "clean", "corrupted", "clean_modality", "corrupted_modality", "answer")
_OPTIONAL = ("foil", "continue_in")
_ENDINGS = (".csv", ".jsonl", ".parquet")
_SIDES = ("clean", "corrupted")
_MOST_COLUMNS = 1000

_Row = dict[str, str | None]


class PairRows:
    """Rows of a table of pairs.

    Args:
        path: a ``.csv`` (UTF-8, with a header), ``.jsonl`` or ``.parquet`` file.
        options: how sound is read.
        caller: the public function, to begin messages with.

    Attributes:
        has_sound: whether any row has a spoken run.

    Raises:
        LookupError: there is no such file.
        ValueError: it cannot be read as a table, or lacks rows, or has other columns.
    """

    holds: Holds = "pairs"
    has_sound: bool
    has_words = False

    def __init__(self, path: str | Path, options: ReadOptions, *, caller: str = "PairRows") -> None:
        self._path, self._options, self._caller = Path(path), options, caller
        self._rows = _table(self._path, caller)
        self._root = self._path.resolve().parent
        spoken = [(self._rows[f"{side}_modality"] == "speech").any() for side in _SIDES]
        self.has_sound = any(spoken)

    def item_keys(self) -> Iterator[ItemKey]:
        """Every row.

        Yields:
            Keys named by the column ``name``, and by their place where it is empty; rows count
            from 1 for people. The size is that of text and sound files together.
        """
        for number, row in enumerate(self._rows.iter_rows(named=True)):
            place = f"{self._path.name}:{number + 1}"
            name = row["name"] or ""
            yield ItemKey(name if name.strip() else place, place, number, self._size_bytes(row))

    def words(self, key: ItemKey) -> tuple[str, ...]:  # noqa: ARG002 (of every data set)
        """No words: control words are drawn from clips.

        Args:
            key: which row.

        Returns:
            None.
        """
        return ()

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> PairItem:
        """One row, with its sound.

        Args:
            key: which row.
            sample_rate_hz: rate of the samples; None if no row is spoken.

        Returns:
            The pair.
        """
        return self.pair(key.number, lambda given: self.clip(given, sample_rate_hz))

    def pair(self, number: int, clip: Callable[[str], Item]) -> PairItem:
        """One row, with what somebody else makes of its clips.

        Args:
            number: which row, from 0.
            clip: gives what a path in the table names.

        Returns:
            The pair.

        Raises:
            ValueError: a column is empty, or holds what it cannot.
        """
        row = self._rows.row(number, named=True)
        self._options.limits.check(f"row {number + 1} in bytes", _n_bytes(row), "max_row_bytes")
        for column in _REQUIRED:
            if not (row[column] or "").strip():
                raise ValueError(f"{self._where(number, column)}: is empty, expected a text.")
        clean, corrupted = (self._run(number, row, side, clip) for side in _SIDES)
        continue_in = self._modality(number, row, "continue_in") if row["continue_in"] else None
        return PairItem(clean, corrupted, str(row["answer"]), row["foil"] or None, continue_in)

    def clip(self, given: str, sample_rate_hz: int | None) -> Item:
        """A sound file that the table names, with the word times beside it.

        Args:
            given: its path, from the table's folder.
            sample_rate_hz: rate of the samples.

        Returns:
            Sound and words.
        """
        assert sample_rate_hz is not None  # a row is spoken, so the data set has sound
        limits = self._options.limits
        sound = inside(self._root, given, of="table", what="a sound file")
        path = alignment_beside(sound, self._caller)
        beside = inside(self._root, str(path.relative_to(self._root)), of="table")
        limits.check(f"the size of {path.name} in bytes", beside.stat().st_size, "max_row_bytes")
        return read_clip(sound, path, self._options, sample_rate_hz=sample_rate_hz)

    @contextmanager
    def about(self, number: int, column: str | None = None) -> Iterator[None]:
        """Says which row an error is about.

        Args:
            number: the row, from 0.
            column: the column; None if the message has it already.

        Yields:
            Nothing.
        """
        with said_of(self._where(number, column), ", " if column is None else ": "):
            yield

    def _run(self, number: int, row: _Row, side: str, clip: Callable[[str], Item]) -> Item:
        modality, given = self._modality(number, row, f"{side}_modality"), str(row[side])
        with self.about(number, side):
            if modality == "speech":
                return clip(given)
            self._options.limits.check("the number of words", len(given.split()), "max_words")
            return Item(text=given)

    def _modality(self, number: int, row: _Row, column: str) -> Modality:
        if row[column] not in MODALITIES:
            raise ValueError(
                f"{self._where(number, column)}: got {row[column]!r}, expected one of {MODALITIES}."
            )
        return cast(Modality, row[column])

    def _where(self, number: int, column: str | None) -> str:
        row = f"{self._caller}: {self._path.name}, row {number + 1}"
        return row if column is None else f"{row}, column {column}"

    def _size_bytes(self, row: _Row) -> int:
        size = _n_bytes(row)
        for side in _SIDES:
            if row[f"{side}_modality"] == "speech":
                try:
                    size += inside(self._root, row[side] or "").stat().st_size
                except (ValueError, LookupError, OSError):
                    continue  # told when the row is read
        return size


@contextmanager
def said_of(where: str, between: str = ": ") -> Iterator[None]:
    """Puts what an error is about before its message, and keeps its kind.

    Args:
        where: what it is about.
        between: what stands between the two.

    Yields:
        Nothing.

    Raises:
        SlmLensError: of the kind that was raised.
        ValueError: a ValueError or LookupError was raised.
    """  # noqa: DOC502 (whatever kind it is)
    try:
        yield
    except SlmLensError as error:
        raise type(error)(f"{where}{between}{error}") from error
    except (ValueError, LookupError) as error:
        raise ValueError(f"{where}{between}{error}") from error


def _n_bytes(row: _Row) -> int:
    return sum(len((value or "").encode()) for value in row.values())


def _table(path: Path, caller: str) -> pl.DataFrame:
    """The file's rows, with all columns, as text.

    Raises:
        LookupError: there is no such file.
        ValueError: another ending, no table, other columns, no rows, or columns that are no text.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ValueError(f"{caller}: got {path.name!r}, expected an ending of {_ENDINGS}.")
    if not path.is_file():
        raise LookupError(f"{caller}: no file at {str(path)!r}, expected a table of pairs.")
    try:
        if ending == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        elif ending == ".jsonl":
            _refuse_nested(path)
            table = pl.read_ndjson(path, infer_schema_length=None)
        else:
            table = read_table(path)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(
            f"{caller}: {path.name} cannot be read ({error}), expected a table as its ending "
            f"{ending} says. Is the file whole, and UTF-8?"
        ) from None
    _check_columns(path, table, caller)
    absent = [pl.lit(None, pl.String).alias(c) for c in _OPTIONAL if c not in table.columns]
    return table.with_columns(pl.all().cast(pl.String)).with_columns(absent)


def _refuse_nested(path: Path) -> None:
    """Refuse lines that are no flat objects: a few kilobytes of nested ones fill polars' memory.

    Raises:
        ValueError: a line is something else, or the lines have more columns than any table.
    """
    names: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number}: {error}") from None
            if not isinstance(row, dict) or any(isinstance(v, list | dict) for v in row.values()):
                raise ValueError(f"line {number} is no object of texts")
            names |= row.keys()
            if len(names) > _MOST_COLUMNS:
                raise ValueError(f"its lines have more than {_MOST_COLUMNS} columns")


def _check_columns(path: Path, table: pl.DataFrame, caller: str) -> None:
    """Refuse a table that lacks columns or rows, or has columns that nothing reads.

    Raises:
        ValueError: naming them.
    """
    missing = [c for c in _REQUIRED if c not in table.columns]
    unknown = [c for c in table.columns if c not in _REQUIRED + _OPTIONAL]
    if missing or unknown:
        near = [difflib.get_close_matches(c, _REQUIRED + _OPTIONAL, 1) for c in unknown]
        meant = sorted({c for found in near for c in found})
        raise ValueError(
            f"{caller}: {path.name} lacks the columns {missing} and has {unknown} besides, "
            f"expected {_REQUIRED} and, if wanted, {_OPTIONAL}. "
            + (f"Is {meant} meant?" if meant else "Rename or drop columns.")
        )
    if table.is_empty():
        raise ValueError(f"{caller}: {path.name} has no row, expected at least one.")
    other = [c for c, kind in table.schema.items() if kind not in (pl.String, pl.Null)]
    if other:
        raise ValueError(
            f"{caller}: {path.name} has columns {other} of {[table.schema[c] for c in other]}, "
            "expected text. Write a unit as '<Un17>'."
        )
