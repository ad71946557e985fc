"""Effects of interventions: a table on the terminal; table, facts and figure in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from slm_lens._console import make_console
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.steering.dose_response import DoseResponse
from slm_lens.interventions.tracing.tracing_result import Tracing
from slm_lens.model.provenance import Provenance
from slm_lens.views.chart import save_figure
from slm_lens.views.dose_figure import dose_figure
from slm_lens.views.effects_figure import effects_heat_map
from slm_lens.views.sweeps_figure import headline_value

_NO_FIGURE = (
    "No figure of this: it has several numbers for each layer and role. For one take a single head "
    "and source layer, or all heads together."
)
_SMALL = "left out whose clean and corrupted run hardly differ"


@dataclass(frozen=True, eq=False)
class _Panel:
    """Means by layer and role, and how they are called."""

    file: str
    title: str
    short_title: str
    label: str
    summary: pl.DataFrame


def report_patching(patching: Patching, counted: str, out: Path) -> None:
    """Write what was patched, and print its means over pairs.

    Args:
        patching: the result.
        counted: how many pairs there are, in words.
        out: gets ``patching.parquet``, ``patching.json``, and where there is one number for each
            layer and role ``patching_{metric}.png`` and ``.svg``.
    """
    patching.write(out)
    panels = []
    for name in patching.table["metric"].unique(maintain_order=True).to_list():
        value = headline_value(patching, name)
        summary = patching.summary(name, value=value, small="leave_out")
        panels.append(_Panel(f"patching_{name}", f"{value} of {name}", name, value, summary))
    kinds = ", ".join(patching.table["kind"].unique(maintain_order=True).to_list())
    title = (
        f"{patching.direction} of {kinds}, at {patching.at}, fit {patching.fit}; "
        f"{patching.table['pair'].n_unique()} pairs; {counted}"
    )
    files = ["patching.parquet", "patching.json"]
    _report(panels, title, patching.provenance, patching.engine, "pairs", out, files)


def report_tracing(tracing: Tracing, counted: str, out: Path) -> None:
    """Write what was traced, and print its means over prompts.

    Args:
        tracing: the result.
        counted: how many pairs the prompts come from, in words.
        out: gets ``tracing.parquet``, ``tracing.json``, and ``tracing_{metric}_{modality}.png``
            and ``.svg``.
    """
    tracing.write(out)
    panels = []
    for name in tracing.table["metric"].unique(maintain_order=True).to_list():
        totals = tracing.summary(name, value="total_effect", by=())
        for (modality,), summary in tracing.summary(name).group_by("modality", maintain_order=True):
            total = _cell(totals.filter(modality=modality).row(0, named=True))
            short = f"{name}, {modality}"
            title = f"{short} (total effect {total})"
            file = f"tracing_{name}_{modality}"
            panels.append(_Panel(file, title, short, "effect", summary))
    sigma = ", ".join(f"{m} {s:.3g}" for m, s in tracing.sigma.items())
    severed = "" if tracing.severed is None else f", {tracing.severed} severed"
    title = (
        f"average indirect effect of {tracing.kind}, window {tracing.window}{severed}; noise "
        f"{sigma}, {tracing.n_samples} samples; {tracing.n_left_out} of {len(tracing.prompts)} "
        f"prompts left out that the model does not answer; {counted}"
    )
    files = ["tracing.parquet", "tracing.json"]
    _report(panels, title, tracing.provenance, tracing.engine, "prompts", out, files)


def report_dose_response(response: DoseResponse, counted: str, out: Path) -> None:
    """Write what was steered, and print its means over pairs.

    Args:
        response: the result.
        counted: what was added where, and how many pairs there are, in words.
        out: gets ``dose_response.parquet``, ``dose_response.json``, and for each metric
            ``dose_response_{metric}.png`` and ``.svg``.
    """
    response.write(out)
    assert response.provenance is not None  # without it nothing was written
    files = ["dose_response.parquet", "dose_response.json"]
    curves = response.curves()
    console = make_console()
    console.print(f"{response.provenance.name}: {counted}", soft_wrap=True)
    console.print(response.provenance.in_words(), soft_wrap=True)
    for name in response.metrics:
        of_metric = curves.filter(metric=name)
        console.print(f"\nchange of {name}", soft_wrap=True)
        console.print(dose_table(of_metric, len(response.runs)))
        save_figure(dose_figure(response, metric=name), out / f"dose_response_{name}")
        files += [f"dose_response_{name}.png", f"dose_response_{name}.svg"]
    console.print(
        f"Mean over {len(response.runs)} pairs {_interval_of(len(response.runs))}; in brackets "
        "random vectors of the same norm. Strength 1 is the length of the mean state.",
        soft_wrap=True,
    )
    console.print(f"Wrote {out}/{', '.join(files)}.", soft_wrap=True)


def dose_table(curves: pl.DataFrame, n_runs: int) -> Table:
    """Effects of one metric, layers down and strengths across.

    Args:
        curves: rows of `DoseResponse.curves` of one metric.
        n_runs: how many runs they are means over: one has no spread.

    Returns:
        A table for the terminal.
    """
    strengths = curves["strength"].unique(maintain_order=True).to_list()
    table = Table("layer", *(f"strength {s:g}" for s in strengths))
    for (layer,), group in curves.group_by("layer", maintain_order=True):
        cells = []
        for row in group.iter_rows(named=True):
            control = "" if row["control"] is None else f" ({row['control']:.3f})"
            bare = row["low"] is None or n_runs < 2
            spread = "" if bare else f" [{row['low']:.3f}, {row['high']:.3f}]"
            cells.append(f"{row['effect']:.3f}{spread}{control}")
        table.add_row(str(layer), *cells)
    return table


def effects_table(summary: pl.DataFrame) -> Table:
    """Means with their intervals, layers down and roles across.

    Args:
        summary: as `Patching.summary` and `Tracing.summary` give it, by role.

    Returns:
        A table for the terminal.
    """
    roles = summary["role"].unique(maintain_order=True).to_list()
    wanted = ("source_layer", "layer", "head")
    keys = [c for c in wanted if c in summary.columns and not _is_of_no_use(summary, c)]
    table = Table(*keys, *roles)
    for key, group in summary.group_by(keys, maintain_order=True):
        cells = {row["role"]: _cell(row) for row in group.iter_rows(named=True)}
        table.add_row(*map(str, key), *(cells.get(role, "") for role in roles))
    return table


def _counted(summary: pl.DataFrame, examples: str) -> str:
    """What was averaged over."""
    n, n_left_out = summary[f"n_{examples}"], summary["n_left_out"].max()
    shown = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    left_out = f"; {n_left_out} {_SMALL}" if n_left_out else ""
    return f"Mean over {shown} {examples} {_interval_of(n.min())}{left_out}"


def _interval_of(n_fewest: Any) -> str:
    return "[95 % interval, over two or more]" if n_fewest < 2 else "[95 % interval]"


def _report(
    panels: Sequence[_Panel],
    title: str,
    provenance: Provenance | None,
    engine: str,
    examples: str,
    out: Path,
    files: list[str],
) -> None:
    assert provenance is not None  # without it nothing was written
    console = make_console()
    console.print(f"{provenance.name}: {title}", soft_wrap=True)
    console.print(f"{provenance.in_words()}; {engine}", soft_wrap=True)
    for panel in panels:
        console.print(f"\n{panel.title}", soft_wrap=True)
        console.print(effects_table(panel.summary))
        console.print(_counted(panel.summary, examples), soft_wrap=True)
        is_map = not panel.summary.select("layer", "role").is_duplicated().any()
        if not is_map:
            console.print(_NO_FIGURE, soft_wrap=True)
        elif panel.summary["estimate"].is_finite().any():
            figure = effects_heat_map({panel.short_title: panel.summary}, label=panel.label)
            save_figure(figure, out / panel.file)
            files += [f"{panel.file}.png", f"{panel.file}.svg"]
    console.print(f"Wrote {out}/{', '.join(files)}.", soft_wrap=True)


def _is_of_no_use(summary: pl.DataFrame, column: str) -> bool:
    if column == "source_layer":
        return bool((summary["source_layer"] == summary["layer"]).all())
    return column == "head" and summary["head"].null_count() == len(summary)


def _cell(row: Mapping[str, Any]) -> str:
    n = row["n_pairs"] if "n_pairs" in row else row["n_prompts"]
    if row["low"] is None or n < 2:  # one number has no spread
        return f"{row['estimate']:.3f}"
    return f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
