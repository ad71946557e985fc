"""NIST and Kaldi CTM: ``utterance channel start duration word [confidence]``."""

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignments.timed_word import SILENCE_LABELS, Segment, TimedWord, shown
from slm_lens.speech.alignments.utterances import choose_utterance


def parse_ctm(text: str, utterance: str | None, where: str) -> list[Segment]:
    """Words of one utterance; marks of silence are left out. The fourth column is a duration.

    Args:
        text: the file's text; lines that begin with ``;;`` are comments.
        utterance: the first column of the lines to read; None if the file has only one.
        where: what the message begins with.

    Returns:
        One segment.

    Raises:
        LookupError: there is no such utterance.
        AlignmentError: a line has another shape, the utterance is not named, or it has two
            channels.

    Source:
        NIST SCTK, "CTM file format".
    """  # noqa: DOC502 (LookupError is raised by choose_utterance)
    words: dict[str, list[TimedWord]] = {}
    channels: dict[str, set[str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith(";;"):
            continue
        name, channel, word = _line(line, f"{where}: line {number}")
        channels.setdefault(name, set()).add(channel)
        words.setdefault(name, []).append(word)
    chosen = choose_utterance(list(words), utterance, where)
    if len(channels[chosen]) > 1:
        raise AlignmentError(
            f"{where}: got channels {sorted(channels[chosen])} for {chosen!r}, expected one. Split "
            "the file by its second column."
        )
    return [Segment(tuple(w for w in words[chosen] if w.word not in SILENCE_LABELS))]


def _line(line: str, where: str) -> tuple[str, str, TimedWord]:
    """Utterance, channel and word of one line.

    Raises:
        AlignmentError: the columns are too few or too many, or a time is no number.
    """
    columns = line.split()
    if 5 <= len(columns) <= 6:
        name, channel, start, duration, word = columns[:5]
        try:
            start_s, duration_s = float(start), float(duration)
        except ValueError:
            pass
        else:
            return name, channel, TimedWord(word, start_s, start_s + duration_s)
    raise AlignmentError(
        f"{where}: got {shown(line.strip())}, expected `utterance channel start duration word "
        "[confidence]` with times in seconds. Correct the line."
    )
