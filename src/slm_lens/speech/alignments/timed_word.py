"""What every format is read into, before times are checked."""

import reprlib
from dataclasses import dataclass

from slm_lens.errors import AlignmentError

SILENCE_LABELS = frozenset({"", "<eps>", "sil", "SIL", "<sil>", "<SIL>", "sp", "SP"})
"""Labels of intervals in which nobody speaks: Praat's empty text, Kaldi's and MFA's marks. Unknown
words (``<unk>``, ``spn``) are spoken, so they are kept."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80

_LONGEST_S = 1e9
"""Half a human life. JSON has whole numbers that no float holds."""


@dataclass(frozen=True)
class TimedWord:
    """A word as a file gives it.

    Attributes:
        word: the word without surrounding spaces.
        start_s: start in seconds, None if the file has none.
        end_s: end in seconds, None if the file has none.
    """

    word: str
    start_s: float | None
    end_s: float | None


@dataclass(frozen=True)
class Segment:
    """Neighbouring words, between which a missing time may be interpolated.

    Attributes:
        words: the words in the order of the file.
        start_s: start of the segment in seconds, None if the file does not say.
        end_s: end of the segment in seconds, None if the file does not say.
    """

    words: tuple[TimedWord, ...]
    start_s: float | None = None
    end_s: float | None = None


def timed_word(word: object, start_s: object, end_s: object, where: str) -> TimedWord:
    """A word from values that were read from JSON.

    Args:
        word: should be a string.
        start_s: should be a number, or None.
        end_s: should be a number, or None.
        where: what the message begins with.

    Returns:
        The word without surrounding spaces.

    Raises:
        AlignmentError: a value has another type.
    """
    if not isinstance(word, str):
        raise AlignmentError(
            f"{where}: got the word {shown(word)}, expected a string. Is the order word, "
            "start, end?"
        )
    return TimedWord(word.strip(), seconds(start_s, word, where), seconds(end_s, word, where))


def seconds(value: object, owner: str, where: str) -> float | None:
    """A time from JSON.

    Args:
        value: should be a number, or None.
        owner: whose time it is.
        where: what the message begins with.

    Returns:
        The time in seconds; None stays None.

    Raises:
        AlignmentError: the value is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LONGEST_S:
        raise AlignmentError(
            f"{where}: got the time {shown(value)} for {owner!r}, expected a number of seconds. "
            "Correct the file."
        )
    return float(value)


def shown(value: object) -> str:
    """A value from JSON in few characters, for messages.

    Args:
        value: anything; lists in lists are shown to the sixth, since nothing shows a thousand.

    Returns:
        Its representation, shortened. Of a number of many digits Python refuses to make a text.
    """
    if isinstance(value, int) and abs(value) > _LONGEST_S:
        return f"{'-' if value < 0 else ''}2^{abs(value).bit_length() - 1} or more"
    return _SHORT.repr(value)
