"""Options of the study `streams`."""

from dataclasses import dataclass
from typing import Literal

OTHER_HALF = "other half"


@dataclass(frozen=True, kw_only=True)
class StreamsOptions:
    """What is read, and how it is counted.

    Attributes:
        data: folder of clips with word times, or ``"held-out"``.
        switches: ``"conflicting"`` for switches at which another word is heard than the model was
            about to write; ``"all"`` for any: a word that was predicted counts as perceived
            before it is heard.
        n_switches: switches of a clip, at most, evenly spread over those that there are.
        min_written: words that are written before a switch, at least.
        n_before: positions before the switch that are shown.
        horizon: positions after the switch that are read.
        band: part of the depth over which affinities are averaged for sorting states, lags and
            findings (the source: layers 12 to 24 of 32).
        within: subset within which the probabilities of two words are compared.
        hold: at how many positions in a row perception has to be ahead.
        n_draws: control words, and control units, for each switch.
        fit_on: where the vector is fitted: ``"other half"`` for the half of the clips that a clip
            is not in, or a folder of other clips.
        quantile: of the affinities of the fitted positions, above which a position perceives, or
            generates.
        steered_positions: positions that are steered from the switch on (the source: 3).
        alphas: strengths of the vector.
        layers: layers at which it is added, as in `residual_stack`, from 1 on; None for all.
        n_random: random vectors of the same norm; their opposites count as well.
        min_gap: least cost of an interruption, in nats, that a recovery is divided by.
        n_bootstrap: resamples; 0 for no intervals.
        seed: of draws and resamples.

    Raises:
        ValueError: a number out of its range.
    """

    data: str = "held-out"
    switches: Literal["conflicting", "all"] = "conflicting"
    n_switches: int = 5
    min_written: int = 2
    n_before: int = 3
    horizon: int = 16
    band: tuple[float, float] = (0.375, 0.75)
    within: Literal["text", "full"] = "text"
    hold: int = 2
    n_draws: int = 5
    fit_on: str = OTHER_HALF
    quantile: float = 0.75
    steered_positions: int = 3
    alphas: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    layers: tuple[int, ...] | None = None
    n_random: int = 2
    min_gap: float = 0.1
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "n_switches": 1, "min_written": 1, "n_before": 1, "horizon": 2, "hold": 1,
            "n_draws": 1, "steered_positions": 1, "n_random": 1, "n_bootstrap": 0,
        }  # fmt: skip
        low = {n: getattr(self, n) for n, at_least in least.items() if getattr(self, n) < at_least}
        if low:
            raise ValueError(f"got {low}, expected at least { {n: least[n] for n in low} }.")
        if len(self.band) != 2 or not 0 <= self.band[0] <= self.band[1] <= 1:
            raise ValueError(
                f"got band={self.band}, expected two depths, 0 <= from <= to <= 1, such as "
                "(0.375, 0.75)."
            )
        if not 0 < self.quantile < 1 or not self.min_gap > 0:
            raise ValueError(
                f"got quantile={self.quantile} and min_gap={self.min_gap}, expected "
                "0 < quantile < 1 and min_gap > 0."
            )
        if not self.alphas or min(self.alphas) <= 0 or len(set(self.alphas)) < len(self.alphas):
            raise ValueError(
                f"got alphas={self.alphas}, expected at least one, each above 0 and once. The "
                "opposite vector is a control of its own."
            )
