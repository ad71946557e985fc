"""What the study `geometry` can be told."""

from dataclasses import dataclass
from typing import Literal

from slm_lens.geometry.cka import ESTIMATORS


@dataclass(frozen=True, kw_only=True)
class GeometryOptions:
    """Options of the study `geometry`.

    Attributes:
        data: folder of clips with word times, or ``"held-out"``.
        n_utterances: only the first so many clips; None for all.
        align: which states are put together for CKA: ``"words"``, means over the positions of each
            word, as the word times have it; ``"dtw"``, each text token with the mean of the speech
            positions that dynamic time warping gives it.
        base_layer: layer of the cosine matrix that is warped; None for two thirds of the way up.
        estimator: of CKA, ``"debiased"`` or ``"biased"``.
        band_share: text layers whose CKA is at least this share of the highest one of a speech
            layer are its band.
        n_mismatched: texts of other clips that each clip is compared with, those nearest in number
            of words.
        n_random: copies with random weights, at least 2 to judge by; 0 for none.
        n_prompts: beginnings of each clip after which the next word is predicted, 0 for none.
        max_states: utterances are left out of CKA after so many words or tokens (its memory grows
            with their square).
        n_groups: parts of the utterances that are left out in turn for the intervals of CKA.
        batch_size: sequences in one forward pass.
        n_bootstrap: resamples of utterances; 0 for no intervals.
        seed: of resamples, mismatched texts and random weights.

    Raises:
        ValueError: a number out of its range.
    """

    data: str = "held-out"
    n_utterances: int | None = None
    align: Literal["words", "dtw"] = "words"
    base_layer: int | None = None
    estimator: Literal["debiased", "biased"] = "debiased"
    band_share: float = 0.9
    n_mismatched: int = 5
    n_random: int = 15
    n_prompts: int = 3
    max_states: int = 1500
    n_groups: int = 10
    batch_size: int = 8
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_mismatched": 1, "n_random": 0, "n_prompts": 0, "max_states": 4, "n_groups": 2}
        least |= {"batch_size": 1, "n_bootstrap": 0, "seed": 0}
        wrong = [f"{n}={getattr(self, n)}" for n, low in least.items() if getattr(self, n) < low]
        if not 0 < self.band_share <= 1:
            wrong.append(f"band_share={self.band_share}")
        if self.n_utterances is not None and self.n_utterances < 2:
            wrong.append(f"n_utterances={self.n_utterances}")
        if wrong:
            raise ValueError(
                f"GeometryOptions: got {', '.join(wrong)}, expected at least {least}, a "
                "band_share above 0 and up to 1, and two utterances or more."
            )
        if self.align not in ("words", "dtw") or self.estimator not in ESTIMATORS:
            raise ValueError(
                f"GeometryOptions: got align={self.align!r} and estimator={self.estimator!r}, "
                f"expected 'words' or 'dtw', and one of {ESTIMATORS}."
            )
