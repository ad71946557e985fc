"""Options of the study ``phases``."""

from dataclasses import dataclass
from typing import Literal

from slm_lens.phases.result import WordSelection


@dataclass(frozen=True, kw_only=True)
class PhasesAcrossOptions:
    """What is read, and with which controls.

    Attributes:
        data: folder of clips with word times, or ``"held-out"``.
        n_clips: how many of them, the first ones; None for all.
        words: which words count: content words, or all.
        n_draws: shuffled and frequency-matched words for each word.
        n_permutations: permutations of the different words, for the peaks of recalls.
        n_shuffles: permutations of the different words, for the classes of errors.
        sounds: what two words sound alike by: ``"phonemes"``, which needs espeak-ng, or their
            ``"letters"``.
        voice: espeak-ng voice, for the phonemes.
        most_distant: largest normalised edit distance at which two sound alike.
        n_neighbours: nearest text tokens that are semantic neighbours.
        neighbours_by: rows whose cosines make neighbours.
        example: clip whose grid is shown; None for the first.
        n_bootstrap: resamples of utterances; 0 for no intervals.
        seed: of all draws.

    Raises:
        ValueError: a number is out of range.
    """

    data: str = "held-out"
    n_clips: int | None = None
    words: WordSelection = "content"
    n_draws: int = 20
    n_permutations: int = 1000
    n_shuffles: int = 200
    sounds: Literal["phonemes", "letters"] = "phonemes"
    voice: str = "en-us"
    most_distant: float = 0.4
    n_neighbours: int = 10
    neighbours_by: Literal["unembedding", "embedding"] = "unembedding"
    example: str | None = None
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_draws": 1, "n_permutations": 1, "n_shuffles": 1, "n_neighbours": 1}
        least |= {"n_bootstrap": 0} | ({} if self.n_clips is None else {"n_clips": 2})
        low = [f"{n}={getattr(self, n)}" for n, at in least.items() if getattr(self, n) < at]
        if low or not 0 <= self.most_distant < 1:
            raise ValueError(
                f"got {', '.join(low) or f'most_distant={self.most_distant}'}, expected at least "
                f"{least} and 0 <= most_distant < 1."
            )
