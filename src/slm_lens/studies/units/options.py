"""Options of the study `units`."""

from dataclasses import dataclass
from typing import Literal

from slm_lens.lens.build_up import Heard


@dataclass(frozen=True, kw_only=True)
class UnitsOptions:
    """What is read, and how it is counted.

    Attributes:
        data: ``"held-out"``, or a folder of clips with word times.
        k: rank that counts as a hit.
        words: which words count: the current word in its recall, the next one in its own.
        n_shares: at how many shares of a word it is read, besides the position before it.
        heard: whether shares are of the word's duration or of its units.
        rates_hz: frame rates at which clips are made units again.
        pooled_hz: rates to which states are averaged.
        n_clusters: centroids that are fitted at each rate to the clips, for the baseline without a
            model; 0 for none.
        n_draws: control words for each word.
        n_bootstrap: resamples; 0 for no intervals.
        seed: of control words, resamples and clusters.

    Raises:
        ValueError: an option out of range.
    """

    data: str = "held-out"
    k: int = 5
    words: Literal["content", "all"] = "content"
    n_shares: int = 10
    heard: Heard = "time"
    rates_hz: tuple[float, ...] = (12.5, 25.0, 50.0)
    pooled_hz: tuple[float, ...] = (25.0, 12.5, 6.25, 4.17, 3.13, 2.08)
    n_clusters: int = 100
    n_draws: int = 20
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            min(self.k, self.n_draws) < 1
            or self.n_shares < 2
            or min(self.n_bootstrap, self.n_clusters) < 0
        ):
            raise ValueError(
                f"study units: got k={self.k}, n_draws={self.n_draws}, n_shares={self.n_shares}, "
                f"n_bootstrap={self.n_bootstrap}, n_clusters={self.n_clusters}; expected k and "
                "n_draws of at least 1, n_shares of at least 2, the others of at least 0."
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares at which words are read, from 0 to 1."""
        return tuple(i / self.n_shares for i in range(self.n_shares + 1))
