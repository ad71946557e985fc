"""Which utterance of a file with several is meant."""

import difflib
from collections.abc import Sequence

from slm_lens.errors import AlignmentError


def choose_utterance(present: Sequence[str], utterance: str | None, where: str) -> str:
    """The utterance to read.

    Args:
        present: names of the utterances in the file, each once.
        utterance: the name asked for; None takes the only one.
        where: what the message begins with.

    Returns:
        One of ``present``.

    Raises:
        LookupError: there is no utterance of that name.
        AlignmentError: none is asked for and the file does not hold exactly one.
    """
    shown = ", ".join(map(repr, present[:8])) + (", ..." if len(present) > 8 else "")
    if utterance is None:
        if len(present) == 1:
            return present[0]
        raise AlignmentError(
            f"{where}: got {len(present)} utterances ({shown}), expected one. Name it: "
            "`utterance='...'`."
        )
    if utterance not in present:
        near = difflib.get_close_matches(utterance, present, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise LookupError(f"{where}: got utterance={utterance!r}, expected one of {shown}.{hint}")
    return utterance
