"""What causal tracing found, for each prompt, and over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.interventions._statistics import mean_over_examples, rows_with_a_gap
from slm_lens.model._facts import read_facts, require_provenance, write_facts
from slm_lens.model.provenance import Provenance

SCHEMA: dict[str, Any] = {
    "prompt": pl.String,
    "modality": pl.String,
    "kind": pl.String,
    "layer": pl.Int32,
    "label": pl.String,
    "role": pl.String,
    "position": pl.Int32,
    "metric": pl.String,
    "clean": pl.Float64,
    "corrupted": pl.Float64,
    "restored": pl.Float64,
    "sample_sd": pl.Float64,
}
PROMPTS: dict[str, Any] = {
    "prompt": pl.String,
    "modality": pl.String,
    "n_tokens": pl.Int32,
    "subject_start": pl.Int32,
    "subject_end": pl.Int32,
    "answered": pl.Boolean,
    "kept": pl.Boolean,
}


@dataclass(frozen=True, eq=False)
class Tracing(Pictured):
    """Values of every metric in every restored run.

    Attributes:
        table: one row for each prompt that was traced, layer, place and metric: ``prompt``; the
            ``modality`` of its subject; ``kind`` and ``layer`` of what was restored (of a window
            the middle); ``label`` (the word there), ``role`` and ``position`` (null where several
            were restored together); ``metric``; its value in the ``clean`` run, and its means
            over the noise samples in the ``corrupted`` and the ``restored`` runs; ``sample_sd``,
            the standard deviation of their difference over the samples (null for one).
        prompts: one row for each prompt that was given: ``prompt``, ``modality``, ``n_tokens``,
            ``subject_start`` and ``subject_end`` (half-open), whether the clean run ``answered``
            it, and whether it was ``kept``.
        kind: what was restored.
        at: what was restored together.
        window: how many layers were restored together.
        severed: outputs that had their corrupted values behind it; None for none.
        sigma: standard deviation of the noise, by modality of the subject.
        n_samples: noise samples of each prompt.
        seed: seed of the noise.
        engine: how the restored runs were made, see `PatchedRuns`.
        provenance: what the numbers depend on; None for a bridge that knows no provenance.
    """

    table: pl.DataFrame
    prompts: pl.DataFrame
    kind: str
    at: str
    window: int
    severed: str | None
    sigma: Mapping[str, float]
    n_samples: int
    seed: int
    engine: str
    provenance: Provenance | None

    @property
    def n_left_out(self) -> int:
        """Prompts that were not traced, as the clean run does not answer them."""
        return int((~self.prompts["kept"]).sum())

    def to_frame(self) -> pl.DataFrame:
        """The table, with the two effects.

        Returns:
            `table`, with the ``total_effect`` (clean minus corrupted) and the ``effect`` (indirect:
            restored minus corrupted).
        """
        corrupted = pl.col("corrupted")
        return self.table.with_columns(
            total_effect=pl.col("clean") - corrupted, effect=pl.col("restored") - corrupted
        )

    def recovery(
        self,
        metric: str = "probability",
        *,
        min_difference: float = 1e-3,
        small: Literal["refuse", "leave_out"] = "refuse",
    ) -> pl.DataFrame:
        """Indirect effects as shares of the total effect: ``IE / TE`` of each prompt.

        It is not clipped: restoring can overshoot, or do the opposite.

        Args:
            metric: name of a metric of the table.
            min_difference: smallest size of the total effect that is divided by.
            small: what becomes of prompts with a smaller one: ``"refuse"`` raises,
                ``"leave_out"`` drops their rows.

        Returns:
            The metric's rows with the column ``recovery``.

        Raises:
            ValueError: an unknown metric, or prompts that the noise hardly changes.
        """  # noqa: DOC502 (raised by the helpers)
        rows = rows_with_a_gap(
            self._of(metric), "prompt", metric, min_difference=min_difference, small=small
        )
        return rows.with_columns(recovery=pl.col("effect") / pl.col("total_effect"))

    def summary(
        self,
        metric: str = "probability",
        *,
        value: Literal["effect", "recovery", "total_effect"] = "effect",
        by: Sequence[str] = ("role",),
        min_difference: float = 1e-3,
        small: Literal["refuse", "leave_out"] = "refuse",
        n_bootstrap: int = 1000,
        seed: int = 0,
    ) -> pl.DataFrame:
        """Mean over prompts, for each layer and what else is asked for; modalities are apart.

        Args:
            metric: name of a metric of the table.
            value: ``"effect"``: the average indirect effect (AIE); ``"recovery"``: its share of
                the total effect, prompt by prompt; ``"total_effect"``, the same in every place.
            by: columns to tell places apart by: ``"role"``, ``"label"`` or ``"position"``; within
                a prompt, places that they do not tell apart are averaged first.
            min_difference: as in `recovery`.
            small: as in `recovery`.
            n_bootstrap: resamples of the prompts; 0 for no interval.
            seed: seed of the resamples and of the sign flips.

        Returns:
            ``modality``, ``kind``, ``layer``, the columns of `by`, ``estimate``, ``low`` and
            ``high`` (95 % interval over resampled prompts), ``p_value`` (two-sided, that the mean
            is zero, by flipping signs of prompts; exact up to 12 of them), ``n_prompts`` and
            ``n_left_out``: prompts of any modality with too small a total effect. Those that the
            model does not answer stand in `prompts`.

        Raises:
            ValueError: as `recovery`; an unknown value or column.
        """
        values, places = ("effect", "recovery", "total_effect"), ("label", "role", "position")
        if value not in values or not set(by) <= set(places):
            raise ValueError(
                f"summary: got value={value!r} and by={tuple(by)}, expected one of {values}, and "
                f"some of {places}."
            )
        rows = self._of(metric)
        n_before = rows["prompt"].n_unique()
        if value == "recovery":
            rows = self.recovery(metric, min_difference=min_difference, small=small)
        return mean_over_examples(
            rows,
            value,
            "prompt",
            ["modality", "kind", "layer", *by],
            n_bootstrap=n_bootstrap,
            seed=seed,
            n_before=n_before,
        )

    def write(self, folder: Path) -> None:
        """Write ``tracing.parquet`` (the table) and ``tracing.json`` (the rest).

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.

        Raises:
            ValueError: there is no provenance, without which nobody could tell what was measured.
        """  # noqa: DOC502 (raised by require_provenance)
        require_provenance(self.provenance, "Tracing.write")
        facts = {name: self.__dict__[name] for name in _FACTS}
        write_atomically(folder / "tracing.parquet", self.table.write_parquet)
        write_facts(folder / "tracing.json", facts | {"prompts": self.prompts.to_dicts()})

    @classmethod
    def read(cls, folder: Path) -> "Tracing":
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            An equal result.

        Raises:
            LookupError: the folder holds no trace.
            ValueError: it was written by another version.
        """  # noqa: DOC502 (raised by read_facts)
        facts = read_facts(folder, "tracing", [*_FACTS, "prompts"], reader="Tracing.read")
        facts["prompts"] = pl.DataFrame(facts["prompts"], schema=PROMPTS)
        return cls(table=pl.read_parquet(folder / "tracing.parquet"), **facts)

    def _of(self, metric: str) -> pl.DataFrame:
        names = self.table["metric"].unique(maintain_order=True).to_list()
        if metric not in names:
            raise ValueError(f"Tracing: got the metric {metric!r}, expected one of {names}.")
        return self.to_frame().filter(pl.col("metric") == metric)


_FACTS = [f.name for f in fields(Tracing) if f.name not in ("table", "prompts")]
