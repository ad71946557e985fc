"""Which tier of a file holds the words."""

import difflib
from collections.abc import Sequence

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignments.timed_word import shown

_PHONE_TIERS = frozenset({"phones", "phone", "phonemes", "phoneme", "segments"})


def choose_tier(names: Sequence[str], tier: str | None, where: str) -> int:
    """Index of the tier to read.

    Args:
        names: names of the interval tiers in the file.
        tier: the name asked for; None takes the tier named ``words``, else the only one named
            ``<speaker> - words``, else the only tier (unless it is named for phones).
        where: what the message begins with.

    Returns:
        Index into ``names``.

    Raises:
        LookupError: there is no tier of the name asked for.
        AlignmentError: no tier is asked for and none is clearly the words', or two share the name.

    Source:
        Names as in the Montreal Forced Aligner's TextGrids.
    """
    if tier is not None:
        if tier not in names:
            near = difflib.get_close_matches(tier, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LookupError(
                f"{where}: got tier={tier!r}, expected one of {shown(list(names))}.{hint}"
            )
        found = [i for i, name in enumerate(names) if name == tier]
    else:
        lower = [name.casefold().strip() for name in names]
        found = [i for i, name in enumerate(lower) if name == "words"]
        found = found or [i for i, name in enumerate(lower) if name.endswith(" - words")]
        if not found and len(names) == 1 and lower[0] not in _PHONE_TIERS:
            found = [0]
    if len(found) != 1:
        raise AlignmentError(
            f"{where}: got interval tiers {shown(list(names))}, expected exactly one tier of "
            "words. Name it: `tier='...'`."
        )
    return found[0]
