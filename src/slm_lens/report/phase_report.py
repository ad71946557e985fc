"""The phase report: a table and a verdict on the terminal; tables and a figure in a folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from slm_lens._atomic import write_atomically
from slm_lens._console import make_console
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.phases.result import LayerEstimate, Phases
from slm_lens.report.run_folder import write_run
from slm_lens.studies.phase_study import PhaseStudy
from slm_lens.views.chart import save_figure
from slm_lens.views.phases_figure import phases_figure


def report_phases(
    studies: Sequence[PhaseStudy],
    out: Path,
    *,
    clips: Mapping[str, Path] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Print what was found, and write it.

    Args:
        studies: one for each model.
        out: gets ``summary.json`` (a list with one entry for each model, in order), the tables of
            each model in a folder of its own, ``phases.png`` and ``phases.svg``, and ``run.json``
            with what `slm_lens.report_run` needs.
        clips: sound file of utterances by name; those of lens grids are kept in ``clips``.
        settings: how it was measured, for the reader of the report.
    """
    summaries = [s.phases.summary() for s in studies]
    for study in studies:
        study.write(out / Path(study.phases.model).name)
    text = json.dumps(summaries, indent=1) + "\n"
    write_atomically(out / "summary.json", lambda part: part.write_text(text, encoding="utf-8"))
    write_run(studies, out, clips=clips or {}, settings=settings or {})
    save_figure(phases_figure([s.phases for s in studies]), out / "phases")
    console = make_console()
    for study in studies:
        console.print(title(study.phases), soft_wrap=True)
        fitted = "" if study.phases.lens == LOGIT_LENS else f"; {study.phases.lens}"
        console.print(f"{study.phases.provenance.in_words()}{fitted}", soft_wrap=True)
        console.print(phase_table(study.phases))
        for line in verdict(study.phases):
            console.print(f"  {line}")
        console.print()
    wrote = f"Wrote {out}/summary.json, phases.png, phases.svg, and the tables per model."
    console.print(wrote, soft_wrap=True)


def title(phases: Phases) -> str:
    """What was measured, in one line.

    Args:
        phases: of one model.

    Returns:
        The model's name, and how many utterances and words were read.
    """
    counted = "content words" if phases.words == "content" else "words"
    return f"{phases.model}: {phases.n_utterances} utterances, {phases.n_words} {counted}"


def phase_table(phases: Phases) -> Table:
    """The headline numbers with their intervals and controls.

    Args:
        phases: of one model.

    Returns:
        A table for the terminal, 80 columns wide at most.
    """
    table = Table("in text, at the peak layer", "current word", "next word",
                  caption_justify="left",
                  caption="Current word: maximum over its positions. Next word: at the last "
                  f"position. Tokens of a word: {phases.policy}. [95 % interval]")  # fmt: skip
    peaks = (("current", "max", phases.current_word), ("next", "last", phases.next_word))
    table.add_row("layer", *(_layer(e) for _, _, e in peaks))
    for label, control, k in (
        ("recall@1", "none", 1),
        ("recall@5", "none", 5),
        ("recall@5, shuffled words", "shuffled", 5),
        ("recall@5, frequency-matched words", "frequency matched", 5),
        ("recall@5, random weights", "random weights", 5),
    ):
        cells = [
            _cell(phases, f"{target}_word_recall", peak.layer, control=control, vocab="text",
                  pool=pool, k=k)
            for target, pool, peak in peaks
        ]  # fmt: skip
        table.add_row(label, *cells)
    table.add_section()
    table.add_row("next minus current, layers", _layer(phases.layer_difference))
    table.add_row("speech mass at the last layer", _cell(phases, "speech_mass", phases.n_layers))
    table.add_row("mostly speech from layer", _layer(phases.return_to_speech))
    return table


def verdict(phases: Phases) -> list[str]:
    """Which of the three phases the numbers show, by rules stated in each line.

    Args:
        phases: of one model.

    Returns:
        One sentence for each phase; a single one when there are no controls or intervals to go by.
    """
    if not phases.n_draws or not phases.n_bootstrap or phases.next_word.layer is None:
        return [
            "no verdict: it needs control words (n_draws), resamples (n_bootstrap), and words that "
            "are followed by another"
        ]
    current = _row(phases, "current_word_recall", phases.current_word.layer, vocab="text",
                   pool="max", k=5)  # fmt: skip
    shuffled = _row(phases, "current_word_recall", phases.current_word.layer, control="shuffled",
                    vocab="text", pool="max", k=5)  # fmt: skip
    next_ = _row(phases, "next_word_recall", phases.next_word.layer, vocab="text", pool="last",
                 k=5)  # fmt: skip
    next_shuffled = _row(phases, "next_word_recall", phases.next_word.layer, control="shuffled",
                         vocab="text", pool="last", k=5)  # fmt: skip
    mass = _row(phases, "speech_mass", phases.n_layers)["estimate"]
    low, high = phases.layer_difference.interval
    later = low is not None and high is not None and low > 0
    ratio = current["estimate"] / max(shuffled["estimate"], 1e-9)
    strong = current["estimate"] >= 0.5 and ratio >= 5
    return [
        f"transcription: {'strong' if strong else 'NOT strong'} (recall@5 "
        f"{current['estimate']:.2f}, {ratio:.1f} times its shuffled control; strong means at "
        "least 0.50 and 5 times)",
        f"next word in text: {'shown' if next_['low'] > next_shuffled['high'] else 'NOT shown'} "
        f"(recall@5 {next_['estimate']:.2f}, control {next_shuffled['estimate']:.2f}); "
        f"{'later' if later else 'NOT later'} than the current word (interval of the difference "
        f"[{low}, {high}] layers)",
        f"return to speech: {'shown' if mass > 0.95 else 'NOT shown'} (speech mass "
        f"{mass:.3f} at the last layer; shown means above 0.95)",
    ]


def _row(phases: Phases, measure: str, layer: int | None, **keys: Any) -> dict[str, Any]:
    assert layer is not None, "a measured phase has a peak"
    return phases.curve(measure, **keys).row(layer, named=True)


def _cell(phases: Phases, measure: str, layer: int | None, **keys: Any) -> str:
    """An estimate with its interval; a dash for what was not measured."""
    if layer is None or keys.get("control", "none") not in set(phases.curves["control"]):
        return "-"
    row = _row(phases, measure, layer, **keys)
    if row["estimate"] is None:
        return "-"
    if row["low"] is None:
        return f"{row['estimate']:.3f}"
    return f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _layer(estimate: LayerEstimate) -> str:
    low, high = estimate.interval
    layer = "-" if estimate.layer is None else str(estimate.layer)
    return layer if low is None and high is None else f"{layer} [{low}, {high}]"
