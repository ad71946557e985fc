"""WhisperX JSON: words inside segments, some without a time."""

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignments.timed_word import Segment, seconds, shown, timed_word


def parse_whisperx(data: object, where: str) -> list[Segment]:
    """Words of every segment; a word that could not be aligned has no times.

    Args:
        data: ``{"segments": [{"start", "end", "words": [{"word", "start", "end"}, ...]}, ...]}``,
            or without segments ``{"word_segments": [{"word", "start", "end"}, ...]}``.
        where: what the message begins with.

    Returns:
        One segment for each in the file.

    Raises:
        AlignmentError: the data have another shape, or a segment was transcribed and not aligned.

    Source:
        WhisperX, ``types.py`` (Bain et al. 2023, arXiv:2303.00747).
    """
    segments = data.get("segments") if isinstance(data, dict) else None
    if segments is None and isinstance(data, dict):
        segments = [{"words": data.get("word_segments")}]
    if not isinstance(segments, list):
        raise AlignmentError(
            f"{where}: got no `segments` and no `word_segments`, expected WhisperX JSON. Is it "
            "another format? Name it: `format='...'`."
        )
    return [_segment(s, f"{where}: segment {i}") for i, s in enumerate(segments)]


def _segment(found: object, where: str) -> Segment:
    """One segment.

    Raises:
        AlignmentError: it has no list of words.
    """
    words = found.get("words") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(words, list):
        raise AlignmentError(
            f"{where}: got no `words`, expected words with times. Was the text only transcribed? "
            "Align it: `whisperx.align(...)`."
        )
    for w in words:
        if not isinstance(w, dict):
            raise AlignmentError(
                f"{where}: got the word {shown(w)}, expected an object with `word`."
            )
    return Segment(
        tuple(timed_word(w.get("word"), w.get("start"), w.get("end"), where) for w in words),
        start_s=seconds(found.get("start"), "the segment", where),
        end_s=seconds(found.get("end"), "the segment", where),
    )
