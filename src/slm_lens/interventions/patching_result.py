"""What patching did, for each pair of runs, and over all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import torch
from transformer_lens.utilities.statistics import (
    bootstrap_ci,
    derive_generator,
    sign_flip_permutation_pvalue,
)

from slm_lens.interventions.pairs import Direction
from slm_lens.model.provenance import Provenance

if TYPE_CHECKING:
    from transformer_lens.patching import PatchingResult

SCHEMA: dict[str, Any] = {
    "pair": pl.String,
    "kind": pl.String,
    "layer": pl.Int32,
    "head": pl.Int32,
    "source_layer": pl.Int32,
    "label": pl.String,
    "role": pl.String,
    "position": pl.Int32,
    "metric": pl.String,
    "clean": pl.Float64,
    "corrupted": pl.Float64,
    "patched": pl.Float64,
}
_CELL = ("kind", "layer", "head", "source_layer")


@dataclass(frozen=True, eq=False)
class Patching:
    """Values of every metric in every patched run.

    Attributes:
        table: one row for each pair, site, place and metric: ``pair``; ``kind``, ``layer`` and
            ``head`` of what was patched (no head: all of them); ``source_layer``; ``label`` (the
            clean run's word), ``role`` and ``position`` (the last one of the target run's span;
            null where several spans were patched together); ``metric``; its value in the ``clean``,
            the ``corrupted`` (null where it does not compare the two) and the ``patched`` run.
        direction: whether the corrupted run was patched (denoising) or the clean one (noising).
        at: what was patched together.
        fit: how lengths that differ were brought together.
        engine: how the patched runs were made, see `PatchedRuns`.
        provenance: what the numbers depend on; None for a bridge that knows no provenance.
    """

    table: pl.DataFrame
    direction: Direction
    at: str
    fit: str
    engine: str
    provenance: Provenance | None

    def to_frame(self) -> pl.DataFrame:
        """The table.

        Returns:
            `table`, with the ``effect``: patched minus the value of the run that was patched.
        """
        base = "corrupted" if self.direction == "denoising" else "clean"
        return self.table.with_columns(effect=pl.col("patched") - pl.col(base))

    def recovery(
        self,
        metric: str,
        *,
        min_difference: float = 1e-3,
        small: Literal["refuse", "leave_out"] = "refuse",
    ) -> pl.DataFrame:
        """How much of the difference between the two runs each patch makes up.

        Denoising: ``(patched - corrupted) / (clean - corrupted)``; noising: one minus that, the
        share that is lost. 0 is no effect, 1 all of it; it is not clipped: a patch can overshoot,
        or do the opposite.

        Args:
            metric: name of a metric of the table.
            min_difference: smallest size of ``clean - corrupted`` that is divided by.
            small: what becomes of pairs whose runs differ by less: ``"refuse"`` raises,
                ``"leave_out"`` drops their rows.

        Returns:
            The metric's rows with the column ``recovery``.

        Raises:
            ValueError: an unknown metric; one that does not compare the two runs; or pairs whose
                runs hardly differ.
        """
        rows = self._of(metric)
        if rows["clean"].null_count() or rows["corrupted"].null_count():
            raise ValueError(
                f"recovery: got {metric!r}, whose values of two runs do not measure the same, "
                "expected another metric. Its effect stands in to_frame()."
            )
        gap = pl.col("clean") - pl.col("corrupted")
        is_small = ~(gap.abs() >= min_difference)
        hardly = rows.filter(is_small)["pair"].unique(maintain_order=True).to_list()
        n_pairs = rows["pair"].n_unique()
        if hardly and (small == "refuse" or len(hardly) == n_pairs):
            raise ValueError(
                f"recovery: got {len(hardly)} of {n_pairs} pairs whose clean and corrupted "
                f"{metric!r} differ by less than {min_difference:g}, such as {hardly[:3]}, "
                "expected a difference to divide by. Leave them out with small='leave_out', or "
                "take another metric."
            )
        share = (pl.col("patched") - pl.col("corrupted")) / gap
        share = share if self.direction == "denoising" else 1 - share
        return rows.filter(~is_small).with_columns(recovery=share)

    def summary(
        self,
        metric: str,
        *,
        value: Literal["recovery", "effect"] = "recovery",
        by: Sequence[str] = ("role",),
        min_difference: float = 1e-3,
        small: Literal["refuse", "leave_out"] = "refuse",
        n_bootstrap: int = 1000,
        seed: int = 0,
    ) -> pl.DataFrame:
        """Mean over pairs, for each site and what else is asked for.

        Args:
            metric: name of a metric of the table.
            value: ``"recovery"``, or ``"effect"``: the change of the metric itself.
            by: columns to tell places apart by, such as ``("role",)``, ``("label",)`` or ``()``;
                within a pair, places that they do not tell apart are averaged first.
            min_difference: as in `recovery`.
            small: as in `recovery`.
            n_bootstrap: resamples of the pairs.
            seed: seed of the resamples and of the sign flips.

        Returns:
            ``kind``, ``layer``, ``head``, ``source_layer``, the columns of `by`, ``estimate``,
            ``low`` and ``high`` (95 % interval over resampled pairs), ``p_value`` (two-sided, that
            the mean is zero, by flipping signs of pairs; exact up to 12 of them), ``n_pairs`` and
            ``n_left_out``.

        Raises:
            ValueError: as `recovery`; an unknown value or column.
        """
        places = ("label", "role", "position")
        if value not in ("recovery", "effect") or not set(by) <= set(places):
            raise ValueError(
                f"summary: got value={value!r} and by={tuple(by)}, expected 'recovery' or "
                f"'effect', and some of {places}."
            )
        if value == "recovery":
            rows = self.recovery(metric, min_difference=min_difference, small=small)
        else:
            rows = self.to_frame().filter(pl.col("metric") == self._of(metric)["metric"][0])
        cell = [*_CELL, *by]
        n_left_out = self._of(metric)["pair"].n_unique() - rows["pair"].n_unique()
        of_pair = rows.group_by([*cell, "pair"], maintain_order=True).agg(pl.col(value).mean())
        found = []
        for key, group in of_pair.group_by(cell, maintain_order=True):
            effects = torch.tensor(group[value].to_list(), dtype=torch.float64)
            found.append((*key, *_statistics(effects, n_bootstrap, seed), len(effects), n_left_out))
        names = [*cell, "estimate", "low", "high", "p_value", "n_pairs", "n_left_out"]
        schema = {n: SCHEMA.get(n, pl.Int64 if n.startswith("n_") else pl.Float64) for n in names}
        return pl.DataFrame(found, schema=schema, orient="row")

    def to_patching_result(self, metric: str) -> "PatchingResult":
        """As transformer-lens has it, for a sweep whose pairs all have the same cells.

        Args:
            metric: name of a metric of the table.

        Returns:
            Values of ``[cell, pair]`` with one row of ``index_df`` for each cell, and the values of
            the run that was patched as its baseline.

        Raises:
            ValueError: an unknown metric, or pairs with different cells.
        """
        from transformer_lens.patching import PatchingResult

        rows = self._of(metric)
        names = rows["pair"].unique(maintain_order=True).to_list()
        counted = pl.int_range(pl.len()).over("pair", *_CELL)
        rows = rows.with_columns(place=counted)
        cells = rows.select(*_CELL, "place").unique(maintain_order=True)
        if len(cells) * len(names) != len(rows):
            raise ValueError(
                f"to_patching_result: got {len(names)} pairs with different cells "
                f"({len(rows)} rows, {len(cells)} different cells), expected the same in all. "
                "Patch at='roles' or 'all', or take summary()."
            )
        ordered = [rows.filter(pl.col("pair") == name) for name in names]
        base = "corrupted" if self.direction == "denoising" else "clean"
        values = [torch.tensor(o["patched"].to_list(), dtype=torch.float64) for o in ordered]
        return PatchingResult(
            values=torch.stack(values, dim=-1),
            axis_names=[],
            index_df=ordered[0].select(*_CELL, "label", "role", "position").to_pandas(),
            metric_names=[metric],
            reduced=False,
            baseline=torch.tensor([o[base][0] for o in ordered], dtype=torch.float64),
        )

    def _of(self, metric: str) -> pl.DataFrame:
        names = self.table["metric"].unique(maintain_order=True).to_list()
        if metric not in names:
            raise ValueError(f"Patching: got the metric {metric!r}, expected one of {names}.")
        return self.table.filter(pl.col("metric") == metric)


def _statistics(
    effects: torch.Tensor, n_bootstrap: int, seed: int
) -> tuple[float, float | None, float | None, float]:
    """Mean, interval and p-value of one number for each pair."""
    mean = float(effects.mean())
    p_value = sign_flip_permutation_pvalue(effects, generator=derive_generator(seed, "signs"))
    if n_bootstrap == 0 or math.isnan(mean):
        return mean, None, None, float(p_value)
    generator = derive_generator(seed, "pairs")
    low, high = bootstrap_ci(effects, n_resamples=n_bootstrap, generator=generator)
    return mean, float(low), float(high), float(p_value)
