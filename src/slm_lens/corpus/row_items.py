"""Rows of tables as items, whatever the table is stored in.

A column of sound holds ``{"bytes", "path"}``, as Hugging Face's ``Audio`` feature is stored (a path
counts from the data's folder), or bytes. Word times are a list of ``{"word", "start", "end"}``, of
``[word, start, end]``, lists ``{"word": [...], "start": [...], "end": [...]}``, or JSON of any.
Units are a list of whole numbers, with durations in frames in a column of their own, if wanted.
Prompt and sides of a trial are sound, text or units, as the type of their columns says.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slm_lens.corpus._timings import alignment_of_row, units_of_row
from slm_lens.corpus.dataset import ReadOptions, check_words, inside
from slm_lens.corpus.items import Item, TrialItem
from slm_lens.corpus.table_columns import ColumnKind, TableColumns
from slm_lens.errors import AudioError
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.audio import decode_audio

Values = Callable[[str], Any]
"""The value of a column in one row; raises one of `ITEM_ERRORS` if it cannot be read."""


class RowItems:
    """Makes items of rows.

    Args:
        columns: which columns hold what.
        kinds: what the columns of trials hold.
        options: how items are read.
        root: folder that paths of sound files count from; None if there is none.

    Attributes:
        has_sound: whether a unit tokenizer is needed.
        has_words: whether rows have words with times.
    """

    def __init__(
        self,
        columns: TableColumns,
        kinds: Mapping[str, ColumnKind],
        options: ReadOptions,
        root: Path | None,
    ) -> None:
        self._columns, self._kinds = columns, kinds
        self._options, self._root = options, root
        self.has_sound = columns.audio is not None or "sound" in kinds.values()
        self.has_words = columns.words is not None

    def words(self, place: str, values: Values) -> tuple[str, ...]:
        """Words of a clip; only the column of the word times is read.

        Args:
            place: which row, for messages.
            values: its values.

        Returns:
            The words; none of a trial.
        """
        if self._columns.words is None:
            return ()
        return tuple(w.word for w in self._alignment(place, values, None) or ())

    def read(self, place: str, values: Values, sample_rate_hz: int | None) -> Item | TrialItem:
        """A row as an item.

        Args:
            place: which row, for messages.
            values: its values.
            sample_rate_hz: rate of the samples.

        Returns:
            The clip or trial.
        """
        columns = self._columns
        if columns.right is not None and columns.wrong is not None:
            prompt, right, wrong = (
                None if c is None else self._segment(place, c, values, sample_rate_hz)
                for c in (columns.prompt, columns.right, columns.wrong)
            )
            assert right is not None
            assert wrong is not None
            return TrialItem(self._part(place, values), prompt, right, wrong)
        if columns.units is not None:
            durations = columns.durations and values(columns.durations)
            ids, rate_hz = values(columns.units), columns.require_frame_rate()
            units = units_of_row(ids, durations, rate_hz, place, self._options.limits)
            return Item(units=units, alignment=self._alignment(place, values, units.duration_s))
        assert columns.audio is not None
        waveform = self._waveform(place, columns.audio, values, sample_rate_hz)
        assert sample_rate_hz is not None
        duration_s = waveform.numel() / sample_rate_hz
        return Item(waveform=waveform, alignment=self._alignment(place, values, duration_s))

    def _segment(self, place: str, column: str, values: Values, sample_rate_hz: int | None) -> Item:
        """Prompt or one side of a trial."""
        kind, limits = self._kinds[column], self._options.limits
        if kind == "sound":
            return Item(waveform=self._waveform(place, column, values, sample_rate_hz))
        if kind == "units":
            rate_hz = self._columns.require_frame_rate()
            return Item(units=units_of_row(values(column), None, rate_hz, place, limits))
        return Item(text=checked_text(values(column), f"{place}, column {column!r}", self._options))

    def _part(self, place: str, values: Values) -> str:
        """Label of a trial.

        Raises:
            ValueError: it is no label.
        """
        if self._columns.part is None:
            return ""
        part = values(self._columns.part)
        if not isinstance(part, str | int) or isinstance(part, bool):
            raise ValueError(
                f"{place}: got a {type(part).__name__} in {self._columns.part!r}, expected a text "
                "or whole number as the trial's part."
            )
        return str(part)

    def _alignment(
        self, place: str, values: Values, clip_duration_s: float | None
    ) -> Alignment | None:
        if self._columns.words is None:
            return None
        timings = _as_rows(values(self._columns.words))
        return alignment_of_row(timings, place, self._options, clip_duration_s)

    def _waveform(self, place: str, column: str, values: Values, sample_rate_hz: int | None) -> Any:
        """Samples of a sound.

        Raises:
            ValueError: no rate is given, or the sound is too large.
        """
        if sample_rate_hz is None:
            raise ValueError(f"{place}: got no sample rate, expected that of a unit tokenizer.")
        limits = self._options.limits
        content = self._sound(place, column, values(column))
        limits.check(f"the size of {place} in bytes", len(content), "max_clip_bytes")
        return decode_audio(
            content,
            name=place,
            sample_rate_hz=sample_rate_hz,
            max_duration_s=limits.max_clip_s,
        )

    def _sound(self, place: str, column: str, value: object) -> bytes:
        """Bytes of a sound file.

        Raises:
            AudioError: the column holds something else.
        """
        path = None
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if isinstance(value, bytes):
            return value
        if isinstance(path, str) and value is None and self._root is not None:
            file = inside(self._root, path)
            size = file.stat().st_size
            self._options.limits.check(f"the size of {path!r} in bytes", size, "max_clip_bytes")
            return file.read_bytes()
        raise AudioError(
            f"{place}: got a {type(value).__name__} in {column!r}, expected the bytes of a sound "
            "file, or its path in the data's folder."
        )


def checked_text(value: object, where: str, options: ReadOptions) -> str:
    """A text that a model can read.

    Args:
        value: what stands in its place.
        where: what messages begin with.
        options: its limits.

    Returns:
        The text, without space around it.

    Raises:
        ValueError: it is no text, has no word, or is too long.
    """
    if not isinstance(value, str) or not value.strip():
        shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise ValueError(f"{where}: got {shown[:80]}, expected a text of at least one word.")
    options.limits.check(f"the text of {where}", len(value), "max_row_bytes")
    check_words(value.split(), options.limits)
    return value.strip()


def _as_rows(timings: object) -> object:
    """Lists of words, starts and ends as a list of words with theirs; all else as it is."""
    if not isinstance(timings, dict) or not all(isinstance(v, list) for v in timings.values()):
        return timings
    if len({len(v) for v in timings.values()}) != 1:
        return timings
    return [dict(zip(timings, row, strict=True)) for row in zip(*timings.values(), strict=True)]
