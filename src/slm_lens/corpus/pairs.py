"""Pairs of runs from a table: CSV, JSON lines or Parquet.

| column | holds |
|---|---|
| ``name`` | unique in the table |
| ``clean``, ``corrupted`` | a sound file, relative to the table, with its word times beside it (``clip.flac``, ``clip.TextGrid``); or the written text |
| ``clean_modality``, ``corrupted_modality`` | ``speech`` or ``text`` |
| ``answer`` | a word, or units: ``<Un17>``, or several that count alike, ``<Un17> <Un20>`` |
| ``foil`` | the same for the corrupted run; may be left out, or empty |
| ``continue_in`` | ``speech`` or ``text``, to announce it as the model's family does; may be left out, or empty: the run is then a whole utterance |

A clip is read whole, and the prediction after its last unit: cut it where the answer would begin.
All columns hold text. A table has these columns and no others, so that a name with a slip in it
is no column that is silently left out.
"""  # noqa: E501 (rows of a table)

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from slm_lens.corpus._arrow import read_table
from slm_lens.corpus.folder import encoded_clip
from slm_lens.errors import SlmLensError
from slm_lens.interventions.pairs.answers import answer_and_foil
from slm_lens.interventions.pairs.matching import MATCHINGS, Matching, match_runs
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.lens.model import require_vocabulary
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import MODALITIES, Modality
from slm_lens.vocab import WORD_POLICIES, WordPolicy

_REQUIRED = ("name", "clean", "corrupted", "clean_modality", "corrupted_modality", "answer")
_OPTIONAL = ("foil", "continue_in")
_ENDINGS = (".csv", ".jsonl", ".parquet")

_MOST_COLUMNS = 1000

_Row = dict[str, str | None]


def read_pairs(
    model: HookedSLM,
    path: str | Path,
    *,
    match: Matching = "words",
    policy: WordPolicy | None = None,
    overlap: Literal["refuse", "trim"] = "refuse",
    missing: Literal["refuse", "interpolate"] = "refuse",
) -> tuple[RunPair, ...]:
    """Pairs of runs from a table; its columns are above.

    Args:
        model: turns sound into units, and both into tokens.
        path: a ``.csv`` (UTF-8, with a header), ``.jsonl`` or ``.parquet`` file.
        match: which spans stand for each other, see `match_runs`.
        policy: which tokens count as a word; None takes the model's own `word_policy`.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.

    Returns:
        One pair for each row, in order.

    Raises:
        TypeError: the model knows no vocabulary.
        LookupError: there is no such file.
        ValueError: an unknown option, a file that cannot be read as such a table, or a row that
            cannot be used; the message names row (from 1, without the header) and column.
    """  # noqa: DOC502 (raised by the parts)
    require_vocabulary(model, "read_pairs")
    path = Path(path)
    for option, got, valid in (
        ("match", match, MATCHINGS),
        ("policy", policy, (None, *WORD_POLICIES)),
    ):
        if got not in valid:
            raise ValueError(f"read_pairs: got {option}={got!r}, expected one of {valid}.")
    table = _table(path)
    reader = _Reader(model, path, match, policy or model.word_policy)
    reader.options = {"overlap": overlap, "missing": missing}
    names: dict[str, int] = {}
    pairs = []
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        pair = reader.pair(number, row)
        if pair.name in names:
            raise ValueError(
                f"{_where(path, number, 'name')}: got {pair.name!r}, the name of row "
                f"{names[pair.name]} as well, expected every name once."
            )
        names[pair.name] = number
        pairs.append(pair)
    return tuple(pairs)


def _table(path: Path) -> pl.DataFrame:
    """The file's rows, with all columns, as text.

    Raises:
        LookupError: there is no such file.
        ValueError: another ending, no table, other columns, no rows, or columns that are no text.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ValueError(f"read_pairs: got {path.name!r}, expected an ending of {_ENDINGS}.")
    if not path.is_file():
        raise LookupError(f"read_pairs: no file at {str(path)!r}, expected a table of pairs.")
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
            f"read_pairs: {path.name} cannot be read ({error}), expected a table as its ending "
            f"{ending} says. Is the file whole, and UTF-8?"
        ) from None
    _check_columns(path, table)
    absent = [pl.lit(None, pl.String).alias(c) for c in _OPTIONAL if c not in table.columns]
    return table.with_columns(absent)


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


def _check_columns(path: Path, table: pl.DataFrame) -> None:
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
            f"read_pairs: {path.name} lacks the columns {missing} and has {unknown} besides, "
            f"expected {_REQUIRED} and, if wanted, {_OPTIONAL}. "
            + (f"Is {meant} meant?" if meant else "Rename or drop columns.")
        )
    if table.is_empty():
        raise ValueError(f"read_pairs: {path.name} has no row, expected at least one.")
    other = [c for c, kind in table.schema.items() if kind not in (pl.String, pl.Null)]
    if other:
        raise ValueError(
            f"read_pairs: {path.name} has columns {other} of {[table.schema[c] for c in other]}, "
            "expected text. Write a unit as '<Un17>'."
        )


class _Reader:
    """Makes pairs of rows; a clip that several rows name is read once."""

    def __init__(self, model: HookedSLM, path: Path, match: Matching, policy: WordPolicy) -> None:
        self.model, self.path = model, path
        self.match: Matching = match
        self.policy: WordPolicy = policy
        self.folder = path.resolve().parent
        self.options: dict[str, Any] = {}
        self._encoded: dict[Path, Any] = {}

    def pair(self, number: int, row: _Row) -> RunPair:
        for column in _REQUIRED:
            if not (row[column] or "").strip():
                raise ValueError(f"{_where(self.path, number, column)}: is empty, expected a text.")
        clean, corrupted = (self._run(number, row, side) for side in ("clean", "corrupted"))
        with self._at(number, "answer, foil"):
            answer, foil = answer_and_foil(
                self.model.vocab, str(row["answer"]), row["foil"] or None, self.policy
            )
        with self._at(number, "clean, corrupted"):
            matches = match_runs(clean, corrupted, self.match)
            return RunPair(str(row["name"]), clean, corrupted, answer, foil, matches)

    def _run(self, number: int, row: _Row, side: str) -> SpeechTextSequence:
        modality = self._modality(number, row, f"{side}_modality")
        continue_in = None
        if row["continue_in"]:
            continue_in = self._modality(number, row, "continue_in")
        given = str(row[side])
        with self._at(number, side):
            if modality == "text":
                return self.model.sequence_from_text(given, continue_in=continue_in)
            units, alignment = self._clip(given)
            return self.model.sequence_from_units(units, alignment, continue_in=continue_in)

    def _clip(self, given: str) -> Any:
        """Units and words of a clip.

        Raises:
            ValueError: it lies outside the table's folder, or is a link to itself.
            LookupError: it is not there.
        """
        try:
            sound = (self.folder / given).resolve()
        except RuntimeError:  # Python's word for a link that leads to itself
            raise ValueError(f"got {given!r}, a link in a circle, expected a file.") from None
        if not sound.is_relative_to(self.folder):
            raise ValueError(
                f"got {given!r}, which leaves the table's folder, expected a path inside it. Put "
                "the table beside its clips."
            )
        if not sound.is_file():
            raise LookupError(f"got {given!r}, expected a sound file in the table's folder.")
        if sound not in self._encoded:
            self._encoded[sound] = encoded_clip(
                self.model, sound, caller="read_pairs", **self.options
            )
        return self._encoded[sound]

    def _modality(self, number: int, row: _Row, column: str) -> Modality:
        if row[column] not in MODALITIES:
            raise ValueError(
                f"{_where(self.path, number, column)}: got {row[column]!r}, expected one of "
                f"{MODALITIES}."
            )
        return cast(Modality, row[column])

    @contextmanager
    def _at(self, number: int, columns: str) -> Iterator[None]:
        """Says which row and column an error is about."""
        try:
            yield
        except SlmLensError as error:
            raise type(error)(f"{_where(self.path, number, columns)}: {error}") from error
        except (ValueError, LookupError) as error:
            raise ValueError(f"{_where(self.path, number, columns)}: {error}") from error


def _where(path: Path, number: int, columns: str) -> str:
    return f"read_pairs: {path.name}, row {number}, column {columns}"
