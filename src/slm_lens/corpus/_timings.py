"""Word times and units as tables and JSON rows hold them."""

import json
from typing import Any

import torch

from slm_lens.corpus.dataset import Limits, ReadOptions, check_words
from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignment_files import alignment_of_segments
from slm_lens.speech.alignments.slamkit import words_of_list
from slm_lens.speech.alignments.timed_word import Segment
from slm_lens.speech.units import Units

_LARGEST_UNIT = 2**31 - 1


def alignment_of_row(
    timings: object, where: str, options: ReadOptions, clip_duration_s: float | None
) -> Alignment:
    """Words of one row.

    Args:
        timings: ``[word, start, end]`` or ``{"word", "start", "end"}`` of each word in seconds, or
            the same as JSON.
        where: what messages begin with.
        options: how to treat times.
        clip_duration_s: length of the clip; None to check nothing.

    Returns:
        The words.

    Raises:
        AlignmentError: they are something else, or cannot be used.
        ValueError: there are too many.
    """  # noqa: DOC502 (ValueError is raised by check_words)
    if isinstance(timings, str):
        options.limits.check("the length of the word times", len(timings), "max_row_bytes")
        timings = json.loads(timings)
    if isinstance(timings, list):
        options.limits.check("the number of words", len(timings), "max_words")
    else:
        raise AlignmentError(
            f"{where}: got a {type(timings).__name__}, expected a list of [word, start, end] or of "
            "objects with these keys. Which column has the word times?"
        )
    words = words_of_list(timings, where)
    check_words([w.word for w in words], options.limits)
    return alignment_of_segments(
        [Segment(words)],
        where=where,
        clip_duration_s=clip_duration_s,
        overlap=options.overlap,
        missing=options.missing,
    )


def units_of_row(
    ids: object, durations: object, frame_rate_hz: float, where: str, limits: Limits
) -> Units:
    """Units of one row.

    Args:
        ids: whole numbers.
        durations: how many frames each lasts; None for one each.
        frame_rate_hz: frames in a second.
        where: what messages begin with.
        limits: how long the clip may be.

    Returns:
        The units.

    Raises:
        ValueError: they are something else, or too many.
    """
    rows = {"units": ids, "durations": durations} if durations is not None else {"units": ids}
    for name, row in rows.items():
        if not isinstance(row, list) or not all(map(_is_whole, row)):
            raise ValueError(
                f"{where}: got {name} that are no list of whole numbers from 0 to "
                f"{_LARGEST_UNIT}, expected such. Is it another column?"
            )
    listed: list[Any] = ids if isinstance(ids, list) else []
    frames: list[Any] = durations if isinstance(durations, list) else [1] * len(listed)
    if len(frames) != len(listed):
        raise ValueError(
            f"{where}: got {len(listed)} units and {len(frames)} durations, expected one for each."
        )
    if sum(frames) > limits.max_clip_s * frame_rate_hz:
        raise ValueError(
            f"{where}: got units of {sum(frames) / frame_rate_hz:.1f} s, expected at most "
            f"max_clip_s={limits.max_clip_s:g}. Cut the clip, or raise the limit."
        )
    tensors = (torch.tensor(x, dtype=torch.int64) for x in (listed, frames))
    return Units(*tensors, frame_rate_hz=frame_rate_hz)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_UNIT
