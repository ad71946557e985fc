"""Praat TextGrids, in the long and short text format; written through praatio."""

import re
from pathlib import Path

import numpy as np
from praatio import textgrid
from praatio.utilities.constants import Interval

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignments.praat_text import INTERVAL_TIER, read_tiers
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
    try:
        start_s, tiers = read_tiers(text)
    except ValueError as error:
        raise AlignmentError(
            f"{where}: got a TextGrid that cannot be read ({error}), expected Praat's long or "
            "short text format. Is the file whole?"
        ) from None
    if start_s < 0:
        raise AlignmentError(f"{where}: got a time before 0 s, expected the clip to start at 0 s.")
    if start_s != 0:
        raise AlignmentError(
            f"{where}: got a TextGrid that starts at {start_s} s, expected 0 s, the start of "
            "the clip. In Praat: Modify > Modify times > Shift times to 0."
        )
    tiers = [t for t in tiers if t.kind == INTERVAL_TIER]
    chosen = tiers[choose_tier([t.name for t in tiers], tier, where)]
    name, end_s, words = chosen.name, chosen.end_s, chosen.entries
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
