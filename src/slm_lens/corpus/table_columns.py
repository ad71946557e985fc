"""Which columns of a table hold what, and what a column of a trial is: sound, text or units.

Columns are named by the caller, never guessed. A table holds *clips*, or *trials*: a right and a
wrong completion, and what both begin with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

import pyarrow as pa

from slm_lens.corpus.items import Holds

ColumnKind = Literal["sound", "text", "units"]


@dataclass(frozen=True)
class TableColumns:
    """Which columns are read.

    Attributes:
        name: names of the items; None names them by file and row.
        audio: of clips: sound; None if there are units.
        words: of clips: word times.
        units: of clips: units; None if there is sound.
        durations: of clips: frames of each unit; None for one each.
        prompt: of trials: what both completions follow on; None if they are whole utterances.
        right: of trials: what should be likelier.
        wrong: of trials: what should not.
        part: of trials: a label to tell results apart by; None for none.
        frame_rate_hz: frames in a second, of units.

    Raises:
        ValueError: there is neither sound nor units, or both; units without a frame rate; a right
            side without a wrong one; or columns of clips and of trials.
    """

    name: str | None = None
    audio: str | None = None
    words: str | None = None
    units: str | None = None
    durations: str | None = None
    prompt: str | None = None
    right: str | None = None
    wrong: str | None = None
    part: str | None = None
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        of_clips = [self.audio, self.words, self.units, self.durations]
        if self.holds == "trials":
            if self.right is None or self.wrong is None or any(c is not None for c in of_clips):
                raise ValueError(
                    f"TableColumns: got right={self.right!r} and wrong={self.wrong!r}, and of "
                    f"clips the columns {[c for c in of_clips if c is not None]}, expected both "
                    "sides of a trial and no column of clips."
                )
            return
        if (self.audio is None) == (self.units is None):
            raise ValueError(
                f"TableColumns: got audio={self.audio!r} and units={self.units!r}, expected the "
                "name of one of these columns; or, of trials, those of right and wrong."
            )
        if self.units is not None:
            self.require_frame_rate()

    @property
    def holds(self) -> Holds:
        """What a row is: a clip, or a trial."""
        of_trials = (self.prompt, self.right, self.wrong, self.part)
        return "clips" if all(c is None for c in of_trials) else "trials"

    @property
    def segments(self) -> list[str]:
        """Columns of trials whose values a model reads."""
        return [c for c in (self.prompt, self.right, self.wrong) if c is not None]

    def names(self) -> list[str]:
        """Names of the columns that are read.

        Returns:
            The names.
        """
        of_clips = (self.audio, self.words, self.units, self.durations)
        given = (self.name, *of_clips, *self.segments, self.part)
        return list(dict.fromkeys(c for c in given if c is not None))

    def require(self, there: list[str], where: str) -> None:
        """Refuse a table that lacks a column.

        Args:
            there: the table's columns.
            where: what the message begins with.

        Raises:
            LookupError: it lacks one.
        """
        lacking = [c for c in self.names() if c not in there]
        if lacking:
            raise LookupError(
                f"{where} lacks the columns {lacking}, expected them among {there}. Name the "
                "columns of your data."
            )

    def require_frame_rate(self) -> float:
        """Frames in a second, of units.

        Returns:
            The number.

        Raises:
            ValueError: there is none.
        """
        if not 0 < (self.frame_rate_hz or 0) < inf:
            raise ValueError(
                f"TableColumns: got units with frame_rate_hz={self.frame_rate_hz}, expected the "
                "frames in a second of these units."
            )
        assert self.frame_rate_hz is not None
        return self.frame_rate_hz


def kinds_of(
    columns: TableColumns, schema: Mapping[str, pa.DataType], where: str
) -> dict[str, ColumnKind]:
    """What the columns of trials hold.

    Args:
        columns: names of columns.
        schema: type of each column.
        where: what messages begin with.

    Returns:
        The kind of each column of `TableColumns.segments`.

    Raises:
        ValueError: a column holds something else, both sides are not alike, or there are units
            without a frame rate.
    """
    found: dict[str, ColumnKind] = {c: _kind(c, schema[c], where) for c in columns.segments}
    sides = {c: found[c] for c in columns.segments if c in (columns.right, columns.wrong)}
    if len(set(sides.values())) > 1:
        raise ValueError(f"{where} has the sides {sides}, expected both sides to be alike.")
    if "units" in found.values():
        columns.require_frame_rate()
    return found


def _kind(column: str, given: pa.DataType, where: str) -> ColumnKind:
    """What a column holds, by its type.

    Raises:
        ValueError: it is none of these.
    """
    kind = given
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "sound"
    if pa.types.is_struct(kind) and {"bytes", "path"} & {f.name for f in kind.fields}:
        return "sound"
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(is_one(kind) for is_one in lists) and pa.types.is_integer(kind.value_type):
        return "units"
    raise ValueError(
        f"{where} has {given} in {column!r}, expected sound (bytes, or a struct of bytes and "
        "path), text, or lists of whole numbers for units."
    )
