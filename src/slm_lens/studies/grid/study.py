"""The organism grid: is text initialisation needed, is interleaving, and when does it appear?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slm_lens._console import step_progress
from slm_lens.corpus.folder import read_utterances
from slm_lens.lens.word_lens import word_lens
from slm_lens.likelihood.score_trials import score_trials
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.load import load
from slm_lens.model.source import find_folder
from slm_lens.organism.answer_trials import AnswerTrials, answer_trials
from slm_lens.organism.grid import GridCell
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.grid.hits import Hits, fact_hits, word_hits
from slm_lens.studies.grid.tables import GridTables, Run, Snapshot
from slm_lens.studies.study_result import StudyResult


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Options of the study ``grid``.

    Attributes:
        data: clips with word times: a folder, or ``"held-out"``.
        snapshots: folders of snapshots along the training of a cell, as
            ``slm-lens organism grid`` wrote them.
        k: rank among text rows that counts as a hit.
        facts: whether spoken facts are scored; they are spoken by espeak-ng.
        n_draws: control words for each word.
        n_bootstrap: resamples; 0 for no intervals.
        batch_size: utterances at once.
        seed: seed of control words and resamples.

    Raises:
        ValueError: `k` or `n_draws` is below 1.
    """

    data: str = "held-out"
    snapshots: tuple[str, ...] = ()
    k: int = 5
    facts: bool = True
    n_draws: int = 20
    n_bootstrap: int = 2000
    batch_size: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.k, self.n_draws, self.batch_size) < 1 or self.n_bootstrap < 0:
            raise ValueError(
                f"study 'grid': got k={self.k}, n_draws={self.n_draws}, "
                f"batch_size={self.batch_size}, n_bootstrap={self.n_bootstrap}; expected at least "
                "1 of each, and 0 or more resamples."
            )


def study_grid(models: Sequence[HookedSLM], options: GridOptions) -> StudyResult:
    """Compare organisms that differ in one factor each.

    Args:
        models: organisms of a grid; which cell and seed each is stands in its ``card.json``.
        options: see `GridOptions`.

    Returns:
        Tables ``runs`` (a row for each model and measure), ``cells`` (means over seeds),
        ``contrasts`` (differences of cells) and, with snapshots, ``trajectory``.

    Raises:
        LookupError: a model has no card that names its cell, or a folder no snapshots.
        ValueError: two models are the same cell and seed.
    """  # noqa: DOC502 (some raised by the parts)
    cells = {m.provenance.name: _cell(m.provenance.name) for m in models}
    runs: list[Run] = []
    with step_progress("cells", len(models), shown=True) as show:
        for i, model in enumerate(models):
            cell = cells[model.provenance.name]
            show(i, cell.name)
            runs.append(Run(cell, measure_run(model, *_items(model, options), options)))
        show(len(models), "")
    snapshots = [s for folder in options.snapshots for s in _read_snapshots(Path(folder), options)]
    tables = GridTables(runs, snapshots, n_bootstrap=options.n_bootstrap, seed=options.seed)
    return StudyResult(
        study="grid",
        findings=tables.findings(),
        tables=tables.tables(),
        provenance={cells[m.provenance.name].name: m.provenance for m in models},
        settings=asdict(options) | {"snapshots": [Path(f).parent.name for f in options.snapshots]},
    )


def measure_run(
    model: HookedSLM,
    utterances: Sequence[Utterance],
    trials: Mapping[str, AnswerTrials],
    options: GridOptions,
) -> tuple[Hits, ...]:
    """Everything that is compared of one model.

    Args:
        model: the model.
        utterances: spoken, with word spans.
        trials: right and wrong completions, by the kind of their facts; names of trials as
            `fact_hits` has them.
        options: see `GridOptions`.

    Returns:
        Current- and next-word recall, then one measure for each set of trials.
    """
    words = word_lens(
        model,
        utterances,
        function_words=ENGLISH_FUNCTION_WORDS,
        policy=model.word_policy,
        n_draws=options.n_draws,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    hits = [word_hits(words, target, k=options.k) for target in ("current", "next")]
    for kind, of_kind in trials.items():
        scores, control = (
            score_trials(model, t, batch_size=options.batch_size, progress=False)
            for t in (of_kind.trials, of_kind.control)
        )
        hits.append(fact_hits(scores, control, f"{kind}_facts"))
    return tuple(hits)


def _items(
    model: HookedSLM, options: GridOptions
) -> tuple[tuple[Utterance, ...], Mapping[str, AnswerTrials]]:
    trials = answer_trials(model) if options.facts else {}
    return tuple(read_utterances(model, options.data)), trials


def _cell(source: str) -> GridCell:
    """The cell of a model, from the card in its folder."""
    card = find_folder(source) / "card.json"
    facts: dict[str, Any] = {}
    if card.is_file():
        facts = json.loads(card.read_text(encoding="utf-8"))
    if "cell" not in facts:
        raise LookupError(
            f"study 'grid': {source!r} has no card.json that names its cell, expected an organism "
            "of a grid. Take the embedded ones, or train: slm-lens organism grid --out DIR."
        )
    return GridCell(**facts["cell"])


def _read_snapshots(folder: Path, options: GridOptions) -> list[Snapshot]:
    steps = sorted(folder.glob("step-*"))
    if not steps:
        raise LookupError(
            f"study 'grid': no step-N in {folder}, expected the folder `snapshots` of a cell."
        )
    read = []
    with step_progress("snapshots", len(steps), shown=True) as show:
        for i, step in enumerate(steps):
            show(i, step.name)
            model = load(str(step))
            card = json.loads((step / "card.json").read_text(encoding="utf-8"))
            hits = measure_run(model, *_items(model, options), options)
            read.append(Snapshot(GridCell(**card["cell"]), int(card["n_speech_steps"]), hits))
        show(len(steps), "")
    return read
