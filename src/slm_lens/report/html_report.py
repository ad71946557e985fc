"""A run as one HTML file: summary, settings, figures, utterances with their sound, tables.

Everything is in the file; it opens without a network, and its numbers are those of the tables in
the run's folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from slm_lens.phases.result import Phases
from slm_lens.report.phase_report import title, verdict
from slm_lens.report.run_folder import RATE_HZ, Run, RunOfModel, read_run
from slm_lens.speech.audio import read_audio
from slm_lens.views.explorer import explorer_view
from slm_lens.views.modality_figure import modality_figure
from slm_lens.views.models_figure import models_figure
from slm_lens.views.page import Page, PageText, View
from slm_lens.views.phases_figure import phases_figure
from slm_lens.views.table import table_view

_CURVE_COLUMNS = ("measure", "control", "vocab", "pool", "k", "layer", "estimate", "low", "high",
                  "chance", "n_words")  # fmt: skip
_WORD_COLUMNS = ("utterance", "word_index", "word", "next_word", "is_content", "layer",
                 "rank_current_text_max", "rank_next_text_last", "text_mass", "speech_mass",
                 "rank_next_unit")  # fmt: skip
_HEADLINES = (
    ("current word", "current_word_recall", "max"),
    ("next word", "next_word_recall", "last"),
)
_CONTROLS = ("none", "shuffled", "frequency matched", "random weights")


def report_run(folder: str | Path, out: str | Path) -> Path:
    """Write the report of a run.

    Args:
        folder: what ``slm-lens phases`` or ``slm-lens demo`` wrote.
        out: the HTML file.

    Returns:
        Its path.

    Raises:
        LookupError: the folder holds no run.
        ValueError: another version wrote it, or parts of it are missing.
    """  # noqa: DOC502 (raised by read_run)
    return run_page(read_run(Path(folder))).save(out)


def run_page(run: Run) -> Page:
    """The report as a page.

    Args:
        run: the run.

    Returns:
        Summary, settings, figures, explorer and tables.
    """
    phases = [m.phases for m in run.models]
    names = " and ".join(p.model for p in phases)
    parts: list[View | PageText] = [*map(_summary, phases), _headline_table(phases)]
    parts += [chart.view() for chart in (phases_figure(phases), modality_figure(phases))]
    if 2 <= len({p.model for p in phases}) == len(phases) <= 6:
        parts.append(models_figure(phases).view())
    parts += _explorers(run)
    parts += [view for model in run.models for view in _tables(model)]
    parts.append(_settings(run))
    return Page(parts, title=f"Phases of {names}")


def headlines(phases: Sequence[Phases]) -> pl.DataFrame:
    """The numbers that a reader looks for first.

    Args:
        phases: of each model.

    Returns:
        A row for each model, word, control and ``k``: recall in text at the layer of the peak, with
        its 95 % interval over utterances.
    """
    rows = [row for p in phases for row in _headline_rows(p)]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.col("recall", "low", "high").cast(pl.Float64))


def _headline_rows(phases: Phases) -> Iterator[dict[str, Any]]:
    known = set(phases.curves["control"])
    peaks = {"current word": phases.current_word, "next word": phases.next_word}
    for of, measure, pool in _HEADLINES:
        layer = peaks[of].layer
        if layer is None:
            continue
        low, high = peaks[of].interval
        for control in (c for c in _CONTROLS if c in known):
            for k in (1, 5):
                curve = phases.curve(measure, control=control, vocab="text", pool=pool, k=k)
                row = curve.row(layer, named=True)
                yield {
                    "model": phases.model,
                    "word": of,
                    "control": control,
                    "k": k,
                    "layer": layer,
                    "layer interval": "" if low is None else f"{low} to {high}",
                    "recall": row["estimate"],
                    "low": row["low"],
                    "high": row["high"],
                }


def _summary(phases: Phases) -> PageText:
    sentences = "\n\n".join(f"{line[0].upper()}{line[1:]}." for line in verdict(phases))
    return PageText(title(phases), sentences)


def _headline_table(phases: Sequence[Phases]) -> View:
    return table_view(
        headlines(phases),
        title="Recall at the peak layer",
        description=(
            "Share of words whose rank in text is at most k, at the layer where recall@5 peaks; "
            "controls are read at that same layer. 95 % intervals over utterances."
        ),
        file_name="recall.csv",
        page_rows=40,
    )


def _explorers(run: Run) -> list[View]:
    """One explorer for the models that read the same utterances; none without lens grids."""
    grids = {m.phases.model: m.grids for m in run.models if m.grids}
    if not grids:
        return []
    clips = {
        name: (read_audio(path, sample_rate_hz=RATE_HZ, silence_dbfs=None), RATE_HZ)
        for name, path in run.clips.items()
    }
    return [explorer_view(grids, clips)]


def _tables(model: RunOfModel) -> list[View]:
    name, words = model.phases.model, model.words.table
    return [
        table_view(
            model.phases.curves.select(_CURVE_COLUMNS),
            title=f"Curves of {name}",
            description="Every curve of phases.parquet: a row for each measure, control and layer.",
            file_name=f"{Path(name).name}-phases.csv",
        ),
        table_view(
            words.select(c for c in _WORD_COLUMNS if c in words.columns),
            title=f"Words of {name}",
            description=(
                "A row for each word and layer of word_lens.parquet: ranks in text of the word "
                "(its highest logit over its positions) and of the next one (at its last position)."
            ),
            file_name=f"{Path(name).name}-words.csv",
        ),
    ]


def _settings(run: Run) -> View:
    rows = [("settings", name, str(value)) for name, value in run.settings.items()]
    for model in run.models:
        own, name = model.phases, model.phases.model
        rows += [(name, "provenance", own.provenance.in_words()), (name, "lens", own.lens)]
        rows += [(name, "tokens of a word", own.policy), (name, "words", own.words)]
        rows += [(name, n, str(own.__dict__[n])) for n in ("n_draws", "n_bootstrap", "seed")]
        rows += [(name, f"left out: {why}", str(n)) for why, n in own.left_out.items()]
        rows += [
            (name, f"control: {control}", provenance.in_words())
            for control, provenance in own.control_provenance.items()
        ]
    rows += [("packages", name, version) for name, version in run.packages.items()]
    return table_view(
        pl.DataFrame(rows, schema=["of", "name", "value"], orient="row"),
        title="Settings and provenance",
        description="What the numbers depend on: settings, models as they were run, versions.",
        file_name="settings.csv",
        page_rows=60,
    )
