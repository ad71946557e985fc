"""How many pairs of facts each setting gives, as a table."""

from collections.abc import Sequence

from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.language import RELATIONS
from slm_lens.organism.pairs import FactPairs, WhichFacts, organism_pairs
from slm_lens.sequence.word_span import Modality

SETTINGS: tuple[tuple[Modality, Modality, Modality, bool], ...] = (
    ("text", "text", "text", False),
    ("speech", "speech", "text", False),
    ("text", "text", "speech", False),
    ("speech", "speech", "speech", False),
    ("text", "speech", "text", False),
    ("speech", "text", "text", False),
    ("text", "speech", "text", True),
    ("speech", "text", "text", True),
)
"""Modality of the clean run, of the corrupted run, of the answer; whether of one sentence."""

_WHICH: tuple[WhichFacts, ...] = ("spoken", "never_spoken")
_COLUMNS = ("sentences", "clean", "corrupted", "answer in", "facts", "tried", "ambiguous",
            "both known", "clean only", "corrupted only", "neither", "lengths differ")  # fmt: skip


def pair_counts(
    model: HookedSLM,
    *,
    n_partners: int = 1,
    relations: Sequence[str] = RELATIONS,
    seed: int = 0,
) -> str:
    """Pairs in each setting, by whether the model answers them.

    Args:
        model: an organism.
        n_partners: as in `organism_pairs`.
        relations: as in `organism_pairs`; some are about animals.
        seed: as in `organism_pairs`.

    Returns:
        A Markdown table; the last column is the share of pairs, of those that are not ambiguous,
        whose runs are of different length.
    """
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for clean, corrupted, answer_in, same in SETTINGS:
        for which in _WHICH:
            made = organism_pairs(
                model,
                clean=clean,
                corrupted=corrupted,
                continue_in=answer_in,
                same_sentence=same,
                known="any",
                which_facts=which,
                n_partners=n_partners,
                relations=relations,
                seed=seed,
            )
            about = ["one" if same else "two", clean, corrupted, answer_in, which.replace("_", " ")]
            lines.append(f"| {' | '.join(map(str, about + _counts(made)))} |")
    return "\n".join(lines) + "\n"


def _counts(made: FactPairs) -> list[str]:
    known = list(zip(made.table["clean_known"], made.table["corrupted_known"], strict=True))
    cases = [(None, None), (True, True), (True, False), (False, True), (False, False)]
    differ = sum(len(p.clean) != len(p.corrupted) for p in made.pairs) / len(made.pairs)
    return [str(len(known)), *(str(known.count(case)) for case in cases), f"{differ:.2f}"]
