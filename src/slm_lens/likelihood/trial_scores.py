"""What a model gave the sequences of trials, and how often the right one was likelier."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.likelihood.reader import Within
from slm_lens.likelihood.trial import REGIONS, Region
from slm_lens.model._facts import read_facts, write_facts
from slm_lens.model.provenance import Provenance
from slm_lens.phases.bootstrap import CONFIDENCE

SCHEMA: dict[str, Any] = {
    "trial": pl.String,
    "part": pl.String,
    "side": pl.String,
    "region": pl.String,
    "n_tokens": pl.Int32,
    "sum_log_prob": pl.Float64,
}

CHANCE = 0.5
"""Accuracy of a model that tells nothing: of fair coins, and of ties alone."""

Norm = Literal["mean", "sum"]
NORMS: tuple[Norm, ...] = get_args(Norm)

_BY = ("part",)
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, eq=False)
class TrialScores(Pictured):
    """Log-likelihoods of both sides of every trial.

    Attributes:
        table: one row for each trial, side and region: ``trial`` (its name), ``part``, ``side``
            (``"right"`` or ``"wrong"``), ``region`` (``"all"``: every token but the first;
            ``"completion"``: from its first position to the end), ``n_tokens`` (tokens that are
            scored) and ``sum_log_prob`` (the sum of their log-probabilities, in nats). A trial
            whose completion is not known has no rows of that region; within a modality, one
            with tokens of the other modality in its prompt has none of ``"all"``.
        within: what the probabilities add up to 1 over.
        provenance: what the numbers depend on.
    """

    table: pl.DataFrame
    within: Within
    provenance: Provenance

    def to_frame(self) -> pl.DataFrame:
        """The table.

        Returns:
            `table`, with ``mean_log_prob``: nats a token.
        """
        mean = pl.col("sum_log_prob") / pl.col("n_tokens")
        return self.table.with_columns(mean_log_prob=mean)

    def margins(self, *, norm: Norm = "mean", region: Region = "all") -> pl.DataFrame:
        """By how much the right side is likelier, for each trial.

        Args:
            norm: ``"mean"`` compares nats a token, ``"sum"`` the log-likelihoods themselves, in
                which a longer sequence is the less likely one.
            region: what is compared: ``"all"`` or the ``"completion"``.

        Returns:
            ``trial``, ``part``, ``right``, ``wrong`` and the ``margin``, right - wrong, in nats.

        Raises:
            ValueError: an unknown option, or a trial without that region.
        """
        if norm not in NORMS or region not in REGIONS:
            raise ValueError(
                f"TrialScores: got norm={norm!r} and region={region!r}, expected one of {NORMS} "
                f"and one of {REGIONS}."
            )
        rows = self.to_frame().filter(pl.col("region") == region)
        self._require_all(rows, region)
        value = "mean_log_prob" if norm == "mean" else "sum_log_prob"
        right, wrong = (
            rows.filter(pl.col("side") == side).select("trial", "part", pl.col(value).alias(side))
            for side in ("right", "wrong")
        )
        both = right.join(wrong.drop("part"), on="trial", validate="1:1", maintain_order="left")
        return both.with_columns(margin=pl.col("right") - pl.col("wrong"))

    def accuracy(
        self,
        *,
        norm: Norm = "mean",
        region: Region = "all",
        by: Sequence[str] = ("part",),
        n_bootstrap: int = 1000,
        seed: int = 0,
    ) -> pl.DataFrame:
        """How often the right side is likelier; chance is 0.5.

        A trial counts 1 if the right side is likelier, 0 if the wrong one is, and 0.5 for a tie,
        which is equality of both numbers to the last bit. The interval draws trials as if they were
        independent; where several share a sequence (one prompt with three wrong endings) it is too
        narrow.

        Args:
            norm: as in `margins`. slamkit's default is ``"mean"``.
            region: as in `margins`. slamkit scores ``"all"``.
            by: ``("part",)`` for a row for each part, ``()`` for one over all trials.
            n_bootstrap: resamples of the trials; 0 for no interval.
            seed: seed of the resamples.

        Returns:
            The columns of `by`, ``estimate``, ``low`` and ``high`` (95 % percentile interval over
            resampled trials; null without resamples), ``n_trials`` and ``n_ties``.

        Raises:
            ValueError: as `margins`; an unknown column, or fewer than no resamples.

        Source:
            slamkit ``modelling_metric``; Maimon et al. 2025, arXiv:2504.02398. Interval: Efron
            1979.
        """
        if tuple(by) not in (_BY, ()) or n_bootstrap < 0:
            raise ValueError(
                f"TrialScores.accuracy: got by={tuple(by)!r} and n_bootstrap={n_bootstrap}, "
                f"expected by={_BY} or (), and 0 or more resamples."
            )
        margins = self.margins(norm=norm, region=region)
        keys = margins["part"].unique(maintain_order=True).to_list() if by else [None]
        found = []
        for key in keys:
            of_key = margins.filter(pl.col("part") == key) if by else margins
            key_columns = (key,) if by else ()
            numbers = of_key["margin"].to_numpy()
            found.append((*key_columns, *_accuracy(numbers, n_bootstrap, seed)))
        schema: dict[str, Any] = {name: pl.String for name in by}
        schema |= dict.fromkeys(("estimate", "low", "high"), pl.Float64)
        schema |= dict.fromkeys(("n_trials", "n_ties"), pl.Int64)
        return pl.DataFrame(found, schema=schema, orient="row")

    def write(self, folder: Path) -> None:
        """Write ``trial_scores.parquet`` (the table) and ``trial_scores.json`` (the rest).

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        write_atomically(folder / "trial_scores.parquet", self.table.write_parquet)
        write_facts(folder / "trial_scores.json", {name: self.__dict__[name] for name in _FACTS})

    @classmethod
    def read(cls, folder: Path) -> "TrialScores":
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            An equal result.

        Raises:
            LookupError: the folder holds no scores of trials.
            ValueError: they were written by another version.
        """  # noqa: DOC502 (raised by read_facts)
        facts = read_facts(folder, "trial_scores", _FACTS, reader="TrialScores.read")
        return cls(table=pl.read_parquet(folder / "trial_scores.parquet"), **facts)

    def _require_all(self, rows: pl.DataFrame, region: Region) -> None:
        """Refuse to leave out trials without a region, of which an accuracy would not speak."""
        lacking = self.table.filter(~pl.col("trial").is_in(rows["trial"].implode()))["trial"]
        names = lacking.unique(maintain_order=True).to_list()
        if names:
            raise ValueError(
                f"TrialScores: got region={region!r}, which {len(names)} of "
                f"{self.table['trial'].n_unique()} trials do not have, such as {names[:3]}; "
                "expected one that all have. A completion needs Trial(right_start=..., "
                "wrong_start=...); 'all' needs within='full' where a prompt is of the other "
                "modality."
            )


_FACTS = [f.name for f in fields(TrialScores) if f.name != "table"]


def _accuracy(
    margins: np.ndarray, n_bootstrap: int, seed: int
) -> tuple[float, float | None, float | None, int, int]:
    """Estimate, interval, trials and ties.

    Of a resample of trials only the numbers of wins, ties and losses matter, and those are
    multinomial with the shares of the sample.
    """
    n_trials = len(margins)
    counts = np.array([(margins > 0).sum(), (margins == 0).sum(), (margins < 0).sum()])
    worth = np.array([1.0, CHANCE, 0.0])
    estimate = float(counts @ worth / n_trials)
    low, high = None, None
    if n_bootstrap:
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(n_trials, counts / n_trials, size=n_bootstrap)
        low, high = map(float, np.quantile(drawn @ worth / n_trials, _TAILS))
    return estimate, low, high, n_trials, int(counts[1])
