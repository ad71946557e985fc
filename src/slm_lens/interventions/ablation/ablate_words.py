"""Does the prediction of speech need the text that is latent in it?

At the positions of a spoken word, in one layer, the directions that the final norm and the
unembedding read for the word's *written* tokens are projected out of the residual stream, and the
model goes on from there. If it predicts the next units as well as before, it did not need them.

| directions | are taken out |
|---|---|
| ``word`` | of the word's tokens |
| ``random`` | as many, at random |
| ``frequency_matched`` | of other words of the same class and like frequency (`lens.targets`) |
| ``text`` | the leading `n_text_directions` of all text rows (`text_subspace`) |
| ``random_text`` | as many, at random |

| metric | is |
|---|---|
| ``units_at_word`` | mean log-probability of the units that follow the word's positions |
| ``units_after`` | mean log-probability of the units that follow later positions |
| ``speech_at_word`` | mean probability of speech at the word's positions |

Any other metric of whole runs can be added, such as the log-probability of an answer.

Source: ours; projecting out as Elazar et al. 2021, arXiv:2006.00995.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens.interventions.ablation._taken_out import Taken, Taker
from slm_lens.interventions.ablation._word_metrics import NAMES, metrics_at_word
from slm_lens.interventions.ablation.word_ablation import WordAblation
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.runs.measured_run import (
    MeasuredRun,
    Meter,
    check_names,
    provenance_of_runs,
)
from slm_lens.interventions.runs.patched_runs import PatchedRuns
from slm_lens.interventions.site import sites
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import WordPolicy

WhichWord = Literal["current", "next"]
Until = Literal["word", "end"]
WHICH_WORDS: tuple[WhichWord, ...] = get_args(WhichWord)
UNTIL: tuple[Until, ...] = get_args(Until)


def ablate_words(
    model: SpeechTextModel,
    utterances: Sequence[Utterance | MeasuredRun],
    *,
    policy: WordPolicy,
    word: WhichWord = "current",
    until: Until = "word",
    kind: Literal["resid_pre", "resid_post"] = "resid_post",
    layers: Sequence[int] | None = None,
    n_text_directions: int = 0,
    n_draws: int = 5,
    metrics: Mapping[str, Metric] | None = None,
    function_words: frozenset[str] = ENGLISH_FUNCTION_WORDS,
    word_counts: Mapping[str, int] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    memory_mb: float = 256.0,
    progress: bool = True,
) -> WordAblation:
    """Project words out of the stream, one word and layer at a time, and measure.

    Args:
        model: the model, in evaluation mode.
        utterances: spoken words with their positions; a `MeasuredRun` where a metric needs an
            answer (its span is not used).
        policy: which tokens count as a word.
        word: take out the word that is spoken, or the one that follows.
        until: take it out at the word's positions alone, or from there to the end of the run.
        kind: before or after the block.
        layers: blocks; None for all.
        n_text_directions: take out so many directions of all text as well; 0 for not.
        n_draws: draws of each control.
        metrics: further metrics by the names that the table is to have.
        function_words: lower-case words that are not content words.
        word_counts: as in `word_lens`.
        n_bootstrap: resamples of utterances in intervals.
        seed: seed of draws and resamples.
        memory_mb: as in `PatchedRuns`.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The effects.

    Raises:
        TypeError: the model knows no vocabulary.
        VocabError: the model has no text.
        ValueError: no utterance, a name twice, no spoken word with tokens and positions, a metric
            by the name of one above, an option that is unknown or out of range, or a layer that
            does not exist.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "ablate_words")
    model.vocab.require_text("ablate_words", model.provenance.model_and_family)
    runs = [_as_run(x) for x in utterances]
    further = dict(metrics or {})
    _check(runs, further, n_draws)
    _check_options(word, until)
    plan = TargetPlan(
        model.vocab,
        [Utterance(run.name, run.sequence) for run in runs],
        policy=policy,
        function_words=function_words,
        word_counts=word_counts,
        n_draws=n_draws,
        seed=seed,
    )
    chosen = _words(plan, runs, word)
    at = sites(model, kind, layers=layers)
    taker = Taker(model, at, n_text_directions, n_draws, seed)
    tables, provenance = [], model.provenance
    words_of = dict(zip([run.name for run in runs], chosen.of_run, strict=True))
    with shown_steps(runs, "taking words out", shown=progress) as each:
        for run in each:
            if of_run := words_of[run.name]:
                engine = PatchedRuns(model, run.sequence.tokens, memory_mb=memory_mb)
                provenance = provenance_of_runs(model, engine) or provenance
                reader = _Reader(LogitLens(model), taker, engine, run, further, until)
                tables += [reader.table(one) for one in of_run]
    return WordAblation(
        table=pl.concat(tables),
        word=word,
        policy=policy,
        n_text_directions=n_text_directions,
        n_draws=n_draws,
        n_bootstrap=n_bootstrap,
        seed=seed,
        words_without_tokens=dict(chosen.without_tokens),
        words_without_matches=dict(+chosen.without_matches),
        provenance=provenance,
    )


def _as_run(given: Utterance | MeasuredRun) -> MeasuredRun:
    return given if isinstance(given, MeasuredRun) else MeasuredRun(given.name, given.sequence)


def _check(runs: Sequence[MeasuredRun], further: Mapping[str, Metric], n_draws: int) -> None:
    check_names(runs, "ablate_words")
    taken = sorted(set(further) & set(NAMES))
    if taken or n_draws < 0:
        raise ValueError(
            f"ablate_words: got further metrics with the names {taken} and n_draws={n_draws}, "
            f"expected names other than {NAMES}, and n_draws >= 0."
        )


def _check_options(word: str, until: str) -> None:
    for name, got, valid in (("word", word, WHICH_WORDS), ("until", until, UNTIL)):
        if got not in valid:
            raise ValueError(f"ablate_words: got {name}={got!r}, expected one of {valid}.")


@dataclass(frozen=True, eq=False)
class _Word:
    """A word and the tokens that are taken out; ``number`` is what its draws depend on."""

    number: tuple[int, int]
    targets: WordTargets
    tokens: tuple[int, ...]
    matched: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class _Chosen:
    of_run: list[list[_Word]]
    without_tokens: Counter[str] = field(default_factory=Counter)
    without_matches: Counter[str] = field(default_factory=Counter)


def _words(plan: TargetPlan, runs: Sequence[MeasuredRun], which: WhichWord) -> _Chosen:
    """Spoken words with positions, and tokens of them or of the next word.

    Raises:
        ValueError: there is none.
    """
    chosen = _Chosen([])
    for u, run in enumerate(runs):
        chosen.of_run.append([])
        for i, span in enumerate(run.sequence.words):
            if span.modality != "speech" or span.start == span.end:
                continue
            targets = plan.word(u, run.sequence.words, i)
            tokens, matched = targets.current, targets.matched_current
            if which == "next":
                tokens, matched = targets.following, targets.matched_next
            if not tokens:
                chosen.without_tokens[span.word] += 1
                continue
            chosen.without_matches[span.word] += not matched
            chosen.of_run[u].append(_Word((u, i), targets, tokens, matched))
    if not any(chosen.of_run):
        raise ValueError(
            f"ablate_words: found no spoken word with tokens and positions in {len(runs)} "
            "utterances, expected at least one. Words of several pieces have tokens under the "
            "policy 'first_piece'."
        )
    return chosen


@dataclass(frozen=True, eq=False)
class _Reader:
    """Measures the words of one run."""

    lens: LogitLens
    taker: Taker
    engine: PatchedRuns
    run: MeasuredRun
    further: Mapping[str, Metric]
    until: Until

    def table(self, word: _Word) -> pl.DataFrame:
        """All measurements of one word."""
        start, end = word.targets.span.start, word.targets.span.end
        sequence = self.run.sequence
        where = torch.arange(start, end if self.until == "word" else len(sequence))
        metrics = {**metrics_at_word(sequence, start, end), **self.further}
        meter = Meter(self.lens, self.run, metrics, self.engine.states[-1])
        parts = []
        # Site by site, so that the states without the directions are held for one alone.
        for taken in self.taker.taken(self.engine, where, word.number, word.tokens, word.matched):
            values = meter.measure(self.engine, [[t.patch] for t in taken])
            parts += [
                self._rows(word, name, taken, values[:, m], meter.baseline[m].item())
                for m, name in enumerate(metrics)
            ]
        return pl.concat(parts)

    def _rows(
        self,
        word: _Word,
        metric: str,
        taken: list[Taken],
        values: Float[Tensor, " n"],
        baseline: float,
    ) -> pl.DataFrame:
        of_word = {
            "metric": metric,
            "utterance": self.run.name,
            "word_index": word.targets.word_index,
            "word": word.targets.span.word,
            "is_content": word.targets.is_content,
        }
        rows = {
            "layer": [t.site.layer for t in taken],
            "directions": [t.directions for t in taken],
            "draw": pl.Series([t.draw for t in taken], dtype=pl.Int64),
            "n_directions": [t.n_directions for t in taken],
            "removed": [t.removed for t in taken],
            "baseline": [baseline] * len(taken),
            "value": values.double().tolist(),
        }
        literals = [pl.lit(value).alias(name) for name, value in of_word.items()]
        frame = pl.DataFrame(rows).with_columns(effect=pl.col("value") - pl.col("baseline"))
        return frame.select(*literals, pl.all())
