"""Which tokens count as the answer of a run, and as the one it is compared with.

An answer is a written word, whose tokens a word policy names, or units as messages and tables
write them: ``<Un17>``, or several that count alike, ``<Un17> <Un20>``.

Source: ours.
"""

import re

import torch

from slm_lens.vocab import SpeechTextVocab, WordPolicy

_UNIT = re.compile(r"<Un(\d+)>")
_UNITS = re.compile(r"(<Un\d+>\s*)+")


def answer_and_foil(
    vocab: SpeechTextVocab, answer: str, foil: str | None, policy: WordPolicy
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids of an answer and of its foil, for `RunPair`.

    Args:
        vocab: the model's vocabulary.
        answer: a word, or units.
        foil: another one; None for none.
        policy: which tokens count as a word.

    Returns:
        Ids of the answer, and of the foil; none for no foil.

    Raises:
        ValueError: no token qualifies, or one counts as both: whether the model predicts answer
            or foil could not be told.
        VocabError: a unit, or text, that the vocabulary does not have.
    """  # noqa: DOC502 (raised by the vocabulary)
    ids = answer_tokens(vocab, answer, policy)
    others = () if foil is None else answer_tokens(vocab, foil, policy)
    shared = sorted(set(ids) & set(others))
    if shared:
        raise ValueError(
            f"answer_and_foil: got {answer!r} and {foil!r}, which both begin with "
            f"{[vocab.label(t) for t in shared]}, expected words that the first token tells "
            "apart. Take another foil, or policy='whole_word' where both are one token."
        )
    return ids, others


def answer_tokens(vocab: SpeechTextVocab, answer: str, policy: WordPolicy) -> tuple[int, ...]:
    """Token ids that count as one answer.

    Args:
        vocab: the model's vocabulary.
        answer: a word, or units.
        policy: which tokens count as a word.

    Returns:
        The ids, sorted.

    Raises:
        ValueError: no token qualifies.
        VocabError: a unit, or text, that the vocabulary does not have.
    """  # noqa: DOC502 (raised by the vocabulary)
    written = answer.strip()
    if _UNITS.fullmatch(written):
        units = torch.tensor([int(u) for u in _UNIT.findall(written)])
        return tuple(sorted(set(vocab.unit_to_token(units).tolist())))
    ids = vocab.word_tokens(written, policy)
    if not ids:
        raise ValueError(
            f"answer_tokens: got {answer!r}, for which policy {policy!r} finds no token, expected "
            "a word that it finds. Take policy='first_piece', or a word of one token."
        )
    return ids
