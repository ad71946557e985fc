"""The JSON that the Montreal Forced Aligner (and praatio) writes: ``tiers.words.entries``."""

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignments.tiers import choose_tier
from slm_lens.speech.alignments.timed_word import SILENCE_LABELS, Segment, shown, timed_word


def parse_mfa_json(data: object, tier: str | None, where: str) -> list[Segment]:
    """Words of one interval tier; empty intervals and marks of silence are left out.

    Args:
        data: ``{"start": 0, "end": ..., "tiers": {name: {"type": "interval", "entries":
            [[begin, end, label], ...]}}}``.
        tier: name of the tier, or None (see `choose_tier`).
        where: what the message begins with.

    Returns:
        One segment.

    Raises:
        LookupError: there is no tier of that name.
        AlignmentError: the data have another shape or do not start at 0.

    Source:
        Montreal Forced Aligner, ``textgrid.py``.
    """  # noqa: DOC502 (LookupError is raised by choose_tier)
    if not isinstance(data, dict) or not isinstance(data.get("tiers"), dict):
        raise AlignmentError(
            f"{where}: got no object with `tiers`, expected the Montreal Forced Aligner's JSON. "
            "Is it another format? Name it: `format='...'`."
        )
    if data.get("start", 0) != 0:
        raise AlignmentError(
            f"{where}: got an alignment that starts at {shown(data['start'])} s, expected 0 s, "
            "the start of the clip. Shift its times."
        )
    tiers = {
        name: found["entries"]
        for name, found in data["tiers"].items()
        if isinstance(found, dict)
        and str(found.get("type")).casefold().startswith("interval")
        and isinstance(found.get("entries"), list)
    }
    name = list(tiers)[choose_tier(list(tiers), tier, where)]
    words = []
    for entry in tiers[name]:
        if not isinstance(entry, list) or len(entry) != 3:
            raise AlignmentError(
                f"{where}: got the entry {shown(entry)} in tier {name!r}, expected "
                "[begin, end, label]."
            )
        begin_s, end_s, label = entry
        word = timed_word(label, begin_s, end_s, where)
        if word.word not in SILENCE_LABELS:
            words.append(word)
    return [Segment(tuple(words))]
