"""What may be wrong with times in any format, and the repairs that a caller may ask for."""

from collections.abc import Sequence

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import AlignedWord
from slm_lens.speech.alignments.timed_word import Segment

_TOUCHING_S = 1e-6
"""Words that overlap by less only touch: start + duration is rounded in floating point."""


def fill_missing(segment: Segment, *, interpolate: bool, where: str) -> list[AlignedWord]:
    """Give every word of a segment its times.

    A word without times lies between the end of the word before it and the start of the word
    after it (or the segment's own start and end); several in a row share that room evenly.

    Args:
        segment: words, some without times.
        interpolate: False refuses words without times.
        where: what the message begins with.

    Returns:
        The words with times.

    Raises:
        AlignmentError: a word lacks a time, and interpolation is not asked for or there is no
            known time on one side of it within the segment.

    Source:
        Ours.
    """
    lacking = [w.word for w in segment.words if w.start_s is None or w.end_s is None]
    if lacking and not interpolate:
        raise AlignmentError(
            f"{where}: got no times for {len(lacking)} of {len(segment.words)} words "
            f"({', '.join(map(repr, lacking[:8]))}), expected a start and an end for each. Pass "
            "missing='interpolate' to place them between their neighbours."
        )
    # Boundary i lies before word i: there word i - 1 ends, and word i starts.
    ends_s = [segment.start_s, *(w.end_s for w in segment.words)]
    starts_s = [*(w.start_s for w in segment.words), segment.end_s]
    # To the left the words to place begin where the first starts, or else its neighbour ends.
    before = _nearest([_first(s, e) for s, e in zip(starts_s, ends_s, strict=True)])
    turned = [_first(e, s) for s, e in zip(starts_s, ends_s, strict=True)][::-1]
    after = [n and (len(ends_s) - 1 - n[0], n[1]) for n in _nearest(turned)[::-1]]
    filled = []
    for i, w in enumerate(segment.words):
        place = f"{where}: {w.word!r}"
        start_s, end_s = w.start_s, w.end_s
        if start_s is None:
            start_s = _boundary_s(i, ends_s[i], before[i], after[i], place)
        if end_s is None:
            end_s = _boundary_s(i + 1, starts_s[i + 1], before[i + 1], after[i + 1], place)
        filled.append(AlignedWord(w.word, start_s, end_s))
    return filled


def _nearest(times_s: Sequence[float | None]) -> list[tuple[int, float] | None]:
    """For each place the last one before it that has a time, and the time."""
    found, last = [], None
    for i, time_s in enumerate(times_s):
        found.append(last)
        last = last if time_s is None else (i, time_s)
    return found


def _boundary_s(
    i: int,
    neighbour_s: float | None,
    before: tuple[int, float] | None,
    after: tuple[int, float] | None,
    place: str,
) -> float:
    """Time of boundary ``i``: where the neighbour ends or starts, else between known boundaries.

    Raises:
        AlignmentError: nothing is known on one side.
    """
    if neighbour_s is not None:
        return neighbour_s
    if before is None or after is None:
        raise AlignmentError(
            f"{place}: got no time for it, nor for anything {'after' if before else 'before'} "
            "it in its segment; expected a known time on both sides. Add the segment's start and "
            "end, or remove the word."
        )
    (left, left_s), (right, right_s) = before, after
    return left_s + (right_s - left_s) * (i - left) / (right - left)


def _first(preferred: float | None, other: float | None) -> float | None:
    return other if preferred is None else preferred


def resolve_overlaps(
    words: Sequence[AlignedWord], *, trim: bool, where: str, rounding_s: float = 0.0
) -> list[AlignedWord]:
    """Make words that overlap meet, or refuse them.

    Args:
        words: the words of a clip.
        trim: move the end of the first and the start of the second to the middle of what they
            share; False refuses overlaps.
        where: what the message begins with.
        rounding_s: words that overlap by no more are trimmed in any case: the file rounds its
            times.

    Returns:
        Words of which none starts before the previous one ends.

    Raises:
        AlignmentError: two words overlap and may not be trimmed, or one lies inside the other or
            before it, which trimming cannot mend.

    Source:
        Ours.
    """
    done: list[AlignedWord] = []
    for word in words:
        if done and word.start_s < done[-1].end_s - _TOUCHING_S:
            last = done[-1]
            both = (
                f"{where}: got {last.word!r} at [{last.start_s:g}, {last.end_s:g}] s and then "
                f"{word.word!r} at [{word.start_s:g}, {word.end_s:g}] s"
            )
            if not trim and last.end_s - word.start_s > rounding_s + _TOUCHING_S:
                raise AlignmentError(
                    f"{both}, expected words that do not overlap. Do two speakers talk at once? "
                    "Pass overlap='trim' to let them meet in the middle."
                )
            if word.start_s < last.start_s or word.end_s < last.end_s:
                raise AlignmentError(
                    f"{both}, expected words in time order, neither inside the other; trimming "
                    "cannot mend that. Sort or correct the file."
                )
            middle_s = (word.start_s + last.end_s) / 2
            done[-1] = AlignedWord(last.word, last.start_s, middle_s)
            word = AlignedWord(word.word, middle_s, word.end_s)
        done.append(word)
    return done


def cut_to_clip(
    words: Sequence[AlignedWord], *, clip_duration_s: float, tolerance_s: float, where: str
) -> list[AlignedWord]:
    """End no word after the clip.

    Args:
        words: the words of a clip.
        clip_duration_s: length of the clip in seconds.
        tolerance_s: a word that ends at most this long after the clip is cut to it.
        where: what the message begins with.

    Returns:
        Words that end within the clip.

    Raises:
        AlignmentError: a word ends later than the tolerance allows, or starts after the clip.

    Source:
        Ours.
    """
    done = []
    for w in words:
        if w.end_s > clip_duration_s + tolerance_s or w.start_s > clip_duration_s:
            raise AlignmentError(
                f"{where}: got {w.word!r} at [{w.start_s:g}, {w.end_s:g}] s in a clip of "
                f"{clip_duration_s:g} s, expected words to end within it (tolerance "
                f"{tolerance_s:g} s). Do the alignment and the audio belong together?"
            )
        done.append(AlignedWord(w.word, w.start_s, min(w.end_s, clip_duration_s)))
    return done
