"""Praat TextGrids, through praatio: long and short text format."""

import re
from pathlib import Path

import numpy as np
from praatio import textgrid
from praatio.utilities import textgrid_io
from praatio.utilities.constants import Interval
from praatio.utilities.errors import PraatioException

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignments.tiers import choose_tier
from slm_lens.speech.alignments.timed_word import SILENCE_LABELS, Segment, TimedWord

_TIER_END_TOLERANCE_S = 0.05
"""Aligners round the last interval and the clip's length differently; a lost word is longer."""


def parse_textgrid(text: str, tier: str | None, where: str) -> list[Segment]:
    """Words of one interval tier; empty intervals and marks of silence are left out.

    Args:
        text: the file's text.
        tier: name of the tier, or None (see `choose_tier`).
        where: what the message begins with.

    Returns:
        One segment.

    Raises:
        LookupError: there is no tier of that name.
        AlignmentError: the text is no TextGrid, is cut off, does not start at 0, or no tier is
            clearly the words'.
    """  # noqa: DOC502 (LookupError is raised by choose_tier)
    if "ooTextFile" not in text[:100]:
        raise AlignmentError(
            f'{where}: got a file without Praat\'s header `File type = "ooTextFile"`, expected a '
            "TextGrid. Is the ending right?"
        )
    if re.search(r"xmin ?= ?-[\d.]*[1-9]", text):  # praatio would drop the minus sign
        raise AlignmentError(f"{where}: got a time before 0 s, expected the clip to start at 0 s.")
    try:
        grid = textgrid_io.parseTextgridStr(text, includeEmptyIntervals=True)
        tiers = [t for t in grid["tiers"] if t["class"] == textgrid.INTERVAL_TIER]
        entries = [
            [(float(start), float(end), label) for start, end, label in t["entries"]] for t in tiers
        ]
    except (PraatioException, ValueError, IndexError) as error:
        raise AlignmentError(
            f"{where}: got a TextGrid that praatio cannot read ({error!r}), expected Praat's long "
            "or short text format. Is the file whole?"
        ) from None
    if grid["xmin"] != 0:
        raise AlignmentError(
            f"{where}: got a TextGrid that starts at {grid['xmin']} s, expected 0 s, the start of "
            "the clip. In Praat: Modify > Modify times > Shift times to 0."
        )
    chosen = choose_tier([t["name"] for t in tiers], tier, where)
    name, end_s, words = tiers[chosen]["name"], tiers[chosen]["xmax"], entries[chosen]
    if words and words[-1][1] < end_s - _TIER_END_TOLERANCE_S:
        raise AlignmentError(
            f"{where}: got intervals up to {words[-1][1]} s in tier {name!r}, expected them up to "
            f"its end at {end_s} s. Is the file cut off? Praat fills a tier with empty intervals."
        )
    return [Segment(tuple(TimedWord(w, s, e) for s, e, w in words if w not in SILENCE_LABELS))]


def write_textgrid(path: Path, alignment: Alignment, *, clip_duration_s: float, where: str) -> None:
    """Write the long text format with one tier named ``words``, in UTF-8.

    Args:
        path: file to write.
        alignment: the words.
        clip_duration_s: length of the clip in seconds, where the tier ends.
        where: what the message begins with.

    Raises:
        AlignmentError: a word has no duration or is written like a mark of silence, which a
            TextGrid cannot tell from a word.
    """
    for w in alignment:
        if w.end_s <= w.start_s or w.word in SILENCE_LABELS:
            raise AlignmentError(
                f"{where}: got {w.word!r} at [{w.start_s}, {w.end_s}] s, expected words that last "
                "and are not written like silence, as a TextGrid needs. Write .json instead."
            )
    grid = textgrid.Textgrid(0.0, clip_duration_s)
    words = [Interval(w.start_s, w.end_s, w.word) for w in alignment]
    grid.addTier(textgrid.IntervalTier("words", words, 0.0, clip_duration_s))
    grid.save(
        str(path),
        format="long_textgrid",
        includeBlankSpaces=True,
        minimumIntervalLength=0.0,  # keep short words
        reportingMode="error",
    )
    # praatio writes times under 0.1 ms as 1e-05, which it cannot read itself.
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)(?<=^            xm(?:in|ax) = )[\d.]+e-\d+", _without_exponent, text)
    path.write_text(text, encoding="utf-8")


def _without_exponent(number: re.Match[str]) -> str:
    return np.format_float_positional(float(number[0]))
