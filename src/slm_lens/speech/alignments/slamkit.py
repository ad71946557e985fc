"""slamkit's JSON: one clip per file or line (``aligned_text``), or a transcription dictionary.

The words of slamkit carry their leading space (``" the"``), because it joins them without one.
"""

import json
from collections import Counter
from pathlib import Path

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignments.timed_word import Segment, TimedWord, shown, timed_word
from slm_lens.speech.alignments.utterances import choose_utterance


def parse_slamkit(data: object, utterance: str | None, where: str) -> list[Segment]:
    """Words of one clip.

    Args:
        data: ``{"file_name", "aligned_text": [[word, start, end], ...]}``, a list of these, or
            ``{file_name: [{"word", "start", "end", ...}, ...]}`` with any further keys.
        utterance: ``file_name`` of the clip; None if there is only one.
        where: what the message begins with.

    Returns:
        One segment.

    Raises:
        LookupError: there is no such clip.
        AlignmentError: the data have another shape, the clip is not named, or two clips share the
            name.

    Source:
        slamkit, ``utils/data_prep.py`` and ``cli/prepare_tokens.py``.
    """  # noqa: DOC502 (LookupError is raised by choose_utterance)
    if isinstance(data, dict) and is_transcriptions(data):
        chosen = choose_utterance(list(data), utterance, where)
        return [Segment(words_of_list(data[chosen], where))]
    rows: list = data if isinstance(data, list) else [data]
    names = [_file_name(row, f"{where}: clip {i}") for i, row in enumerate(rows)]
    twice = sorted(n for n, times in Counter(names).items() if times > 1)
    if twice:
        raise AlignmentError(
            f"{where}: got two clips named {twice[0]!r}, expected each name once. Remove one."
        )
    chosen = choose_utterance(names, utterance, where)
    return [Segment(words_of_list(rows[names.index(chosen)]["aligned_text"], where))]


def is_transcriptions(data: object) -> bool:
    """Whether this is what slamkit's ``parse_transcriptions`` reads.

    Args:
        data: what was read from JSON.

    Returns:
        True for a non-empty object whose values are all lists of objects, and that is not the
        metadata of one clip.
    """
    if not isinstance(data, dict) or "aligned_text" in data:
        return False
    lists = [v for v in data.values() if isinstance(v, list)]
    return 0 < len(lists) == len(data) and all(isinstance(w, dict) for ws in lists for w in ws)


def write_slamkit(path: Path, alignment: Alignment, *, file_name: str) -> None:
    """Write slamkit's metadata of one clip.

    Args:
        path: file to write.
        alignment: the words.
        file_name: name of the clip.
    """
    words = [[f" {w.word}", w.start_s, w.end_s] for w in alignment]
    text = "".join(f" {w.word}" for w in alignment)
    about = {"file_name": file_name, "text": text, "aligned_text": words}
    path.write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")


def _file_name(row: object, where: str) -> str:
    """Name of a clip that has an alignment.

    Raises:
        AlignmentError: it has no name or no alignment.
    """
    if not isinstance(row, dict) or not isinstance(row.get("aligned_text"), list):
        raise AlignmentError(
            f"{where}: got no `aligned_text`, expected a list of [word, start, end]. Is it a "
            "features file? The alignment is in the metadata .json beside the audio."
        )
    if not isinstance(row.get("file_name"), str):
        raise AlignmentError(f"{where}: got no `file_name`, expected the name of the clip.")
    return row["file_name"]


def words_of_list(found: list, where: str) -> tuple[TimedWord, ...]:
    """Words from lists or from objects.

    Args:
        found: ``[word, start, end]`` or ``{"word", "start", "end"}`` of each word, in seconds.
        where: what messages begin with.

    Returns:
        The words, times that are absent as None.

    Raises:
        AlignmentError: an entry has another shape.
    """
    words = []
    for entry in found:
        if isinstance(entry, dict):
            word, start_s, end_s = (entry.get(key) for key in ("word", "start", "end"))
        elif isinstance(entry, list) and len(entry) == 3:
            word, start_s, end_s = entry
        else:
            raise AlignmentError(
                f"{where}: got {shown(entry)}, expected [word, start, end] or an object with these "
                "keys. Correct the file."
            )
        words.append(timed_word(word, start_s, end_s, where))
    return tuple(words)
