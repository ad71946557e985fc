"""Tables and findings of the organism grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from slm_lens.organism.grid import GridCell
from slm_lens.studies.grid.comparison import (
    CONTRASTS,
    QUESTIONS,
    SILENT,
    Estimate,
    cell_estimate,
    run_estimate,
    verdict,
)
from slm_lens.studies.grid.hits import Hits
from slm_lens.studies.study_result import StudyTable


@dataclass(frozen=True, eq=False)
class Run:
    """One model of the grid.

    Attributes:
        cell: which.
        hits: its measures, the same ones for all.
    """

    cell: GridCell
    hits: tuple[Hits, ...]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model on its way.

    Attributes:
        cell: which cell it becomes.
        n_speech_steps: steps with speech so far.
        hits: as of a run.
    """

    cell: GridCell
    n_speech_steps: int
    hits: tuple[Hits, ...]


class GridTables:
    """Makes them from the measures of runs.

    Attributes:
        runs: by group and seed, in order.
        snapshots: by cell and step, in order.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        snapshots: Sequence[Snapshot],
        *,
        n_bootstrap: int,
        seed: int,
    ) -> None:
        names = [r.cell.name for r in runs]
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"study 'grid': got the cells {names}, expected at least one, and each seed of a "
                "cell once."
            )
        self.runs = sorted(runs, key=lambda r: (r.cell.group, r.cell.seed))
        self.snapshots = sorted(snapshots, key=lambda s: (s.cell.name, s.n_speech_steps))
        self._n_bootstrap, self._seed = n_bootstrap, seed
        self._measures = [h.measure for h in self.runs[0].hits]
        self._groups = {g: list(rs) for g, rs in groupby(self.runs, key=lambda r: r.cell.group)}

    def tables(self) -> dict[str, StudyTable]:
        """All tables.

        Returns:
            By the name of their file.
        """
        items = "content words (recall) or trials (facts)"
        found = {
            "contrasts": StudyTable(
                self.contrasts(),
                "A row for each factor and measure: excess over the control of the cells with and "
                "without it, their difference with its 95 % interval, and what follows by the rule "
                "of `verdict`.",
                on_page=True,
            ),
            "cells": StudyTable(
                self.cells(),
                "A row for each cell and measure: mean over its seeds, 95 % interval over "
                f"utterances (facts) and seeds, control, excess over it; n_items: {items}.",
                on_page=True,
            ),
            "runs": StudyTable(
                pl.DataFrame([self._row(r.cell, h) for r in self.runs for h in r.hits]),
                f"A row for each trained organism and measure; intervals over utterances or facts; "
                f"n_items: {items}; layers: which were read, one for each half of the utterances.",
            ),
        }
        if self.snapshots:
            rows = [
                {"n_speech_steps": s.n_speech_steps, **self._row(s.cell, h)}
                for s in self.snapshots
                for h in s.hits
            ]
            found["trajectory"] = StudyTable(
                pl.DataFrame(rows),
                "A row for each snapshot and measure, as in `runs`; n_speech_steps: optimiser "
                "steps on documents with speech until then.",
            )
        return found

    def cells(self) -> pl.DataFrame:
        """Means over seeds.

        Returns:
            A row for each group and measure.
        """
        rows = []
        for group, runs in self._groups.items():
            for i, measure in enumerate(self._measures):
                value, control, excess = (self._cell(group, i, what) for what in _WHAT)
                rows.append(
                    {
                        "cell": group,
                        "init": runs[0].cell.init,
                        "data": runs[0].cell.data,
                        "measure": measure,
                        **_ends("", value),
                        "control": control.value,
                        **_ends("excess", excess),
                        "n_seeds": len(runs),
                        "n_items": len(runs[0].hits[i].values),
                    }
                )
        return pl.DataFrame(rows, infer_schema_length=None)

    def contrasts(self) -> pl.DataFrame:
        """Differences between cells that both were given.

        Returns:
            A row for each contrast and measure; none if no pair of cells is there.
        """
        rows = []
        for name, (with_it, without) in CONTRASTS.items():
            if not {with_it, without} <= set(self._groups):
                continue
            for i, measure in enumerate(self._measures):
                one, other = self._cell(with_it, i, "excess"), self._cell(without, i, "excess")
                rows.append(
                    {
                        "factor": name,
                        "measure": measure,
                        "with_it": one.value,
                        "without": other.value,
                        **_ends("difference", one - other),
                        "verdict": verdict(one, other, one - other),
                        "n_seeds_with": len(self._groups[with_it]),
                        "n_seeds_without": len(self._groups[without]),
                        "n_items": len(self._groups[with_it][0].hits[i].values),
                    }
                )
        return pl.DataFrame(rows, _CONTRAST_SCHEMA if not rows else None, infer_schema_length=None)

    def findings(self) -> tuple[str, ...]:
        """What the contrasts say, in sentences.

        Returns:
            One for each of the two questions and each measure, then one about all other contrasts.
        """
        rows = sorted(
            self.contrasts().iter_rows(named=True), key=lambda r: self._measures.index(r["measure"])
        )
        asked = [r for r in rows if r["factor"] in QUESTIONS]
        others = [r for r in rows if r["factor"] not in QUESTIONS]
        found = [_sentence(r) for r in asked]
        if others:
            told = [r for r in others if r["verdict"] not in SILENT]
            found.append(
                f"Of {len(others)} other differences between cells, {len(told)} are shown (about "
                f"{0.05 * len(others):.1f} would be by chance)" + ": " * bool(told)
                + "; ".join(_short(r) for r in told) + "."
            )  # fmt: skip
        return tuple(found)

    def _cell(self, group: str, measure: int, what: str) -> Estimate:
        runs = [self._run(run.hits[measure], what) for run in self._groups[group]]
        # Another stream of draws for each group, the same one for all measures of a group.
        return cell_estimate(runs, seed=self._seed + 1 + sorted(self._groups).index(group))

    def _run(self, hits: Hits, what: str) -> Estimate:
        values = getattr(hits, what)
        return run_estimate(values, hits, n_bootstrap=self._n_bootstrap, seed=self._seed)

    def _row(self, cell: GridCell, hits: Hits) -> dict[str, object]:
        return {
            "cell": cell.group,
            "init": cell.init,
            "data": cell.data,
            "seed": cell.seed,
            "measure": hits.measure,
            **_ends("", self._run(hits, "values")),
            "control": float(hits.control.mean()),
            **_ends("excess", self._run(hits, "excess")),
            "layers": list(hits.layers),
            "n_items": len(hits.values),
        }


_WHAT = ("values", "control", "excess")
_CONTRAST_SCHEMA = {
    **dict.fromkeys(("factor", "measure"), pl.String),
    **dict.fromkeys(
        ("with_it", "without", "difference", "difference_low", "difference_high"), pl.Float64
    ),
    "verdict": pl.String,
    **dict.fromkeys(("n_seeds_with", "n_seeds_without", "n_items"), pl.Int64),
}


def _ends(name: str, estimate: Estimate) -> dict[str, float | None]:
    low, high = estimate.interval()
    prefix = f"{name}_" if name else ""
    return {name or "estimate": estimate.value, f"{prefix}low": low, f"{prefix}high": high}


def _short(row: dict[str, object]) -> str:
    measure = str(row["measure"]).replace("_", " ")
    return (
        f"{row['factor']}, {measure}: {row['verdict']} ({row['difference']:.3f} "
        f"[{row['difference_low']:.3f}, {row['difference_high']:.3f}])"
    )


def _sentence(row: dict[str, object]) -> str:
    measure = str(row["measure"]).replace("_", " ")
    interval = "" if row["difference_low"] is None else (
        f" [{row['difference_low']:.3f}, {row['difference_high']:.3f}]"
    )  # fmt: skip
    return (
        f"{measure}, {row['factor']}: {row['verdict']}. Above its control by "
        f"{row['with_it']:.3f} with it and {row['without']:.3f} without; difference "
        f"{row['difference']:.3f}{interval} ({row['n_seeds_with']} and {row['n_seeds_without']} "
        f"seeds, n = {row['n_items']})."
    )
