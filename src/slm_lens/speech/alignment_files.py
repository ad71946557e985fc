"""Word alignments from files, whatever aligner wrote them, and to files.

| format | files | what is read |
|---|---|---|
| ``textgrid`` | ``.TextGrid`` | a tier of a Praat TextGrid, long or short text format |
| ``mfa_json`` | ``.json`` with ``tiers`` | a tier of the Montreal Forced Aligner's JSON |
| ``ctm`` | ``.ctm`` | ``utterance channel start duration word [confidence]`` |
| ``whisperx`` | ``.json`` with ``segments`` or ``word_segments`` | words of all segments |
| ``slamkit`` | ``.jsonl``; ``.json`` with ``aligned_text`` or ``{file: [{"word"}]}`` | one clip |

Files are UTF-8 or UTF-16, with or without a byte order mark. Silence is left out. Times are
checked the same way for every format: missing, overlapping, and past the end of the clip.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from slm_lens._atomic import written_atomically
from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.alignments.ctm import parse_ctm
from slm_lens.speech.alignments.encoding import read_text
from slm_lens.speech.alignments.mfa_json import parse_mfa_json
from slm_lens.speech.alignments.repair import cut_to_clip, fill_missing, resolve_overlaps
from slm_lens.speech.alignments.slamkit import is_transcriptions, parse_slamkit, write_slamkit
from slm_lens.speech.alignments.textgrid import parse_textgrid, write_textgrid
from slm_lens.speech.alignments.timed_word import Segment
from slm_lens.speech.alignments.whisperx import parse_whisperx

AlignmentFormat = Literal["textgrid", "mfa_json", "ctm", "whisperx", "slamkit"]
ALIGNMENT_FORMATS: tuple[AlignmentFormat, ...] = get_args(AlignmentFormat)

CTM_ROUNDING_S = 0.015
"""Overlap in seconds that start and duration in hundredths, each rounded, can cause."""

Overlap = Literal["refuse", "trim"]
Missing = Literal["refuse", "interpolate"]

_TIER_FORMATS = ("textgrid", "mfa_json")
_UTTERANCE_FORMATS = ("ctm", "slamkit")


def read_alignment(
    path: str | Path,
    *,
    format: AlignmentFormat | None = None,
    utterance: str | None = None,
    tier: str | None = None,
    clip_duration_s: float | None = None,
    clip_tolerance_s: float = 0.05,
    overlap: Overlap = "refuse",
    missing: Missing = "refuse",
) -> Alignment:
    """Read the words of one clip and their times.

    Args:
        path: the alignment file.
        format: one of `ALIGNMENT_FORMATS`; None tells it from the file's ending and, for
            ``.json``, from its keys, as in the table of this module.
        utterance: for ``ctm`` and ``slamkit`` files with several clips, which one.
        tier: for ``textgrid`` and ``mfa_json``, the tier; None takes the one named ``words``, else
            the only ``<speaker> - words``, else the only tier.
        clip_duration_s: length of the audio in seconds, to refuse words past its end; None
            checks nothing.
        clip_tolerance_s: words that end at most this much after the clip are cut to it.
        overlap: ``"refuse"``, or ``"trim"`` to let two words that overlap meet in the middle.
            In ``ctm`` files overlaps of up to `CTM_ROUNDING_S` always do: start and duration are
            rounded one by one.
        missing: ``"refuse"``, or ``"interpolate"`` to place words without times between their
            neighbours in the same segment.

    Returns:
        The words in time order, in seconds from the start of the clip.

    Raises:
        AlignmentError: the file cannot be read, holds no words, or its times cannot be used.
        LookupError: ``utterance`` or ``tier`` is not in the file.
        ValueError: the format cannot be told, or an option is unknown or does not fit the format.

    Source:
        Ours; the sources of the formats are in `slm_lens.speech.alignments`.
    """  # noqa: DOC502 (LookupError is raised by the parsers)
    path = Path(path)
    where = f"read_alignment: {path}"
    _check_options(where, format=format, overlap=overlap, missing=missing)
    text = read_text(path, where)
    chosen = _format_of(path, text, where) if format is None else format
    segments = _parse(chosen, text, utterance=utterance, tier=tier, where=where)
    return alignment_of_segments(
        segments,
        where=where,
        clip_duration_s=clip_duration_s,
        clip_tolerance_s=clip_tolerance_s,
        overlap=overlap,
        missing=missing,
        rounding_s=CTM_ROUNDING_S if chosen == "ctm" else 0.0,
    )


def alignment_of_segments(
    segments: Sequence[Segment],
    *,
    where: str,
    clip_duration_s: float | None,
    overlap: Overlap,
    missing: Missing,
    clip_tolerance_s: float = 0.05,
    rounding_s: float = 0.0,
) -> Alignment:
    """Words of one clip, wherever they were read from, with their times checked.

    Args:
        segments: words of the clip.
        where: what messages begin with.
        clip_duration_s: as in `read_alignment`.
        overlap: as in `read_alignment`.
        missing: as in `read_alignment`.
        clip_tolerance_s: as in `read_alignment`.
        rounding_s: overlap in seconds that the source's rounding explains.

    Returns:
        The words in time order.

    Raises:
        AlignmentError: there are no words, or their times cannot be used.
    """  # noqa: DOC502 (raised by the parts)
    words = [
        word
        for segment in segments
        for word in fill_missing(segment, interpolate=missing == "interpolate", where=where)
    ]
    words = resolve_overlaps(words, trim=overlap == "trim", where=where, rounding_s=rounding_s)
    if clip_duration_s is not None:
        words = cut_to_clip(
            words, clip_duration_s=clip_duration_s, tolerance_s=clip_tolerance_s, where=where
        )
    return _alignment(words, where)


def write_alignment(
    path: str | Path,
    alignment: Alignment,
    *,
    clip_duration_s: float | None = None,
    file_name: str | None = None,
) -> None:
    """Write an alignment that `read_alignment`, Praat or slamkit can read.

    Args:
        path: file to write: ``.TextGrid`` for Praat's long text format with the tier ``words``,
            ``.json`` for slamkit's metadata of one clip. An existing file is replaced at once.
        alignment: the words.
        clip_duration_s: length of the audio in seconds; a TextGrid needs it. Words past it are
            refused.
        file_name: ``file_name`` in the ``.json``; None takes the path's name without ending, as
            slamkit pairs metadata with audio.

    Raises:
        AlignmentError: a word ends after the clip, or a TextGrid cannot hold it.
        ValueError: the path has another ending, or an option is missing or does not fit.

    Source:
        slamkit ``utils/data_prep.py`` for the keys; Praat's manual for the TextGrid.
    """  # noqa: DOC502 (AlignmentError is raised by cut_to_clip and write_textgrid)
    path = Path(path)
    where = f"write_alignment: {path}"
    ending = path.suffix.casefold()
    if ending not in (".textgrid", ".json"):
        raise ValueError(f"{where}: got ending {path.suffix!r}, expected .TextGrid or .json.")
    if ending == ".textgrid" and (clip_duration_s is None or file_name is not None):
        raise ValueError(
            f"{where}: got clip_duration_s={clip_duration_s} and file_name={file_name!r}, expected "
            "a TextGrid to have a length and no file name. Pass the length of the audio in seconds."
        )
    if clip_duration_s is not None:
        cut_to_clip(alignment.words, clip_duration_s=clip_duration_s, tolerance_s=0.0, where=where)
    with written_atomically(path) as temporary:
        if ending == ".textgrid":
            assert clip_duration_s is not None
            write_textgrid(temporary, alignment, clip_duration_s=clip_duration_s, where=where)
        else:
            write_slamkit(temporary, alignment, file_name=file_name or path.stem)


def _check_options(where: str, *, format: str | None, overlap: str, missing: str) -> None:
    """Refuse unknown values of options.

    Raises:
        ValueError: naming the valid ones.
    """
    for name, got, valid in (
        ("format", format, (None, *ALIGNMENT_FORMATS)),
        ("overlap", overlap, get_args(Overlap)),
        ("missing", missing, get_args(Missing)),
    ):
        if got not in valid:
            raise ValueError(f"{where}: got {name}={got!r}, expected one of {valid}.")


def _format_of(path: Path, text: str, where: str) -> AlignmentFormat:
    """The format by the file's ending and content.

    Raises:
        ValueError: it cannot be told.
    """
    ending = path.suffix.casefold()
    if ending == ".ctm":
        return "ctm"
    if ending == ".jsonl":
        return "slamkit"
    if ending == ".textgrid":  # praatio and the MFA also write JSON under this ending
        return "mfa_json" if text.lstrip().startswith("{") else "textgrid"
    if ending == ".json":
        data = _json(text, where)
        first = data[0] if isinstance(data, list) and data else data
        keys = set(first) if isinstance(first, dict) else set()
        if keys & {"segments", "word_segments"}:
            return "whisperx"
        if "tiers" in keys:
            return "mfa_json"
        if "aligned_text" in keys or is_transcriptions(data):
            return "slamkit"
    raise ValueError(
        f"{where}: got a file of unknown format, expected one of {', '.join(ALIGNMENT_FORMATS)}. "
        "If it is one of these under another ending, name it: `format='...'`."
    )


def _parse(
    format: AlignmentFormat, text: str, *, utterance: str | None, tier: str | None, where: str
) -> Sequence[Segment]:
    """Segments of words as the file gives them.

    Raises:
        ValueError: the format does not have the option given.
    """
    for name, given, formats in (
        ("tier", tier, _TIER_FORMATS),
        ("utterance", utterance, _UTTERANCE_FORMATS),
    ):
        if given is not None and format not in formats:
            raise ValueError(
                f"{where}: got {name}={given!r} for a file of format {format}, expected it only "
                f"for {' and '.join(formats)}. Leave it out."
            )
    if format == "textgrid":
        return parse_textgrid(text, tier, where)
    if format == "ctm":
        return parse_ctm(text, utterance, where)
    data = _json(text, where)
    if format == "mfa_json":
        return parse_mfa_json(data, tier, where)
    if format == "whisperx":
        return parse_whisperx(data, where)
    return parse_slamkit(data, utterance, where)


def _json(text: str, where: str) -> object:
    """One JSON value, or the list of them when the file has one in each line.

    Raises:
        AlignmentError: the text is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # too many digits are a ValueError
        if not isinstance(error, json.JSONDecodeError) or error.msg != "Extra data":
            raise AlignmentError(
                f"{where}: got text that is not JSON ({error}), expected JSON. Is the file whole?"
            ) from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            raise AlignmentError(
                f"{where}: line {number} is not JSON ({error}), expected one value in each line. "
                "Is the file whole?"
            ) from None
    return rows


def _alignment(words: Sequence[AlignedWord], where: str) -> Alignment:
    """The words as an `Alignment`, with the file's name in what it refuses.

    Raises:
        AlignmentError: the words cannot be used.
    """
    try:
        return Alignment(tuple(words))
    except AlignmentError as error:
        raise AlignmentError(f"{where}: {error}") from None
