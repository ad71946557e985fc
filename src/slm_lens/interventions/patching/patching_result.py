"""What patching did, for each pair of runs, and over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import torch

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.interventions._statistics import mean_over_examples, rows_with_a_gap
from slm_lens.interventions.pairs.run_pair import Direction
from slm_lens.model._facts import read_facts, require_provenance, write_facts
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
class Patching(Pictured):
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
        rows = rows_with_a_gap(rows, "pair", metric, min_difference=min_difference, small=small)
        gap = pl.col("clean") - pl.col("corrupted")
        share = (pl.col("patched") - pl.col("corrupted")) / gap
        share = share if self.direction == "denoising" else 1 - share
        return rows.with_columns(recovery=share)

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
        return mean_over_examples(
            rows,
            value,
            "pair",
            [*_CELL, *by],
            n_bootstrap=n_bootstrap,
            seed=seed,
            n_before=self._of(metric)["pair"].n_unique(),
        )

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

    def write(self, folder: Path) -> None:
        """Write ``patching.parquet`` (the table) and ``patching.json`` (the rest).

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.

        Raises:
            ValueError: there is no provenance, without which nobody could tell what was measured.
        """  # noqa: DOC502 (raised by require_provenance)
        require_provenance(self.provenance, "Patching.write")
        write_atomically(folder / "patching.parquet", self.table.write_parquet)
        write_facts(folder / "patching.json", {name: self.__dict__[name] for name in _FACTS})

    @classmethod
    def read(cls, folder: Path) -> "Patching":
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            An equal result.

        Raises:
            LookupError: the folder holds no patching.
            ValueError: it was written by another version.
        """  # noqa: DOC502 (raised by read_facts)
        facts = read_facts(folder, "patching", _FACTS, reader="Patching.read")
        return cls(table=pl.read_parquet(folder / "patching.parquet"), **facts)

    def _of(self, metric: str) -> pl.DataFrame:
        names = self.table["metric"].unique(maintain_order=True).to_list()
        if metric not in names:
            raise ValueError(f"Patching: got the metric {metric!r}, expected one of {names}.")
        return self.table.filter(pl.col("metric") == metric)


_FACTS = [f.name for f in fields(Patching) if f.name != "table"]
