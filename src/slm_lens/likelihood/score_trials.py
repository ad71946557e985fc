"""Scores trials: the log-likelihood of the right and of the wrong sequence.

The accuracy of a speech-text model on sWUGGY, sBLIMP, StoryCloze, SALMon or spoken facts is the
share of trials whose right sequence it finds likelier.

Source: slamkit ``modelling_metric`` and ``cross_modal_metric``; Maimon et al. 2025,
arXiv:2504.02398. The pair accuracy of sWUGGY and sBLIMP: Nguyen et al. 2020, arXiv:2011.11588.
"""

import math
from collections import Counter
from collections.abc import Sequence

import polars as pl
from torch import Tensor

from slm_lens._console import step_progress
from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, choose_forward
from slm_lens.likelihood.reader import LikelihoodReader, Within
from slm_lens.likelihood.trial import REGIONS, SIDES, Region, Trial
from slm_lens.likelihood.trial_scores import SCHEMA, TrialScores

Row = tuple[str, str, str, str, int, float]
"""A row of `TrialScores.table`: trial, part, side, region, n_tokens, sum_log_prob."""


def score_trials(
    model: SpeechTextModel,
    trials: Sequence[Trial],
    *,
    within: Within = "full",
    batch_size: int = 1,
    forward: Forward = "auto",
    progress: bool = True,
) -> TrialScores:
    """Log-likelihoods of both sides of every trial, as a whole and over the completion.

    ::

        scores = slm_lens.score_trials(model, trials)
        scores.accuracy()  # by part; chance is 0.5
        scores.accuracy(region="completion", norm="sum", by=())

    Args:
        model: the model, in evaluation mode.
        trials: what is to be scored, with different names.
        within: ``"full"`` for the softmax over the whole vocabulary; ``"text"`` or ``"speech"``
            for the softmax over that modality alone, see `slm_lens.likelihood.reader`. A prompt of
            the other modality then leaves the region ``"all"`` without rows.
        batch_size: trials in one forward pass, padded on the right. Changes numbers by rounding
            only.
        forward: which forward pass gives the states, as in `residual_stack`; the provenance says
            which one ran.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The table of log-likelihoods.

    Raises:
        TypeError: the model knows no vocabulary.
        ValueError: no trial, a name that occurs twice, a sequence longer than the model's context,
            a completion of another modality than `within`, an unknown option, or a model that
            `residual_stack` refuses.

    Source:
        See the module.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "score_trials")
    _check(trials, batch_size)
    used = choose_forward(model, forward, "score_trials")
    reader = LikelihoodReader(model, within=within, forward=used, caller="score_trials")
    rows: list[Row] = []
    with step_progress("scoring", len(trials), shown=progress) as show:
        for first in range(0, len(trials), batch_size):
            batch = trials[first : first + batch_size]
            show(first, batch[0].name)
            rows += [row for of_trial in rows_of(reader, batch) for row in of_trial]
        show(len(trials), "")
    return TrialScores(pl.DataFrame(rows, schema=SCHEMA, orient="row"), within, reader.provenance())


def rows_of(reader: LikelihoodReader, trials: Sequence[Trial]) -> list[list[Row]]:
    """Rows of some trials, all of whose sequences run together.

    Args:
        reader: the model, and what is normalised over.
        trials: at least one.

    Returns:
        For each trial its rows of `TrialScores.table`, by region, then side. They depend on what
        runs beside it by rounding only, and on nothing else with one trial at a time.

    Raises:
        ValueError: as `score_trials`, of these trials.
    """  # noqa: DOC502 (raised by the functions it calls)
    regions = [regions_of(reader, trial) for trial in trials]
    read = iter(reader.log_probs([t.of(side)[0] for t in trials for side in SIDES]))
    found: list[list[Row]] = []
    for trial, of_trial in zip(trials, regions, strict=True):
        values = {side: next(read) for side in SIDES}
        found.append(
            [
                (trial.name, trial.part, side, region, *_sum(values[side], starts[i]))
                for region, starts in of_trial.items()
                for i, side in enumerate(SIDES)
            ]
        )
    return found


def regions_of(reader: LikelihoodReader, trial: Trial) -> dict[Region, tuple[int, int]]:
    """Which regions of a trial can be scored; the model does not run.

    Args:
        reader: the model, and what is normalised over.
        trial: the trial.

    Returns:
        For each region the first scored position of the right and of the wrong side: all regions
        that are known, but within a modality only those without a token of the other one.

    Raises:
        ValueError: there is none.
    """
    known: dict[Region, tuple[int, int]] = {"all": (1, 1)}
    if trial.right_start is not None and trial.wrong_start is not None:
        known["completion"] = (trial.right_start, trial.wrong_start)
    found: dict[Region, tuple[int, int]] = {}
    reason = ""
    for region in REGIONS:
        if region in known:
            reasons = [_why_not(reader, trial, i, start) for i, start in enumerate(known[region])]
            reason = next((r for r in reasons if r), "")
            if not reason:
                found[region] = known[region]
    if not found:
        raise ValueError(
            f"{reader.caller}: got within={reader.within!r} for the trial {trial.name!r}, "
            f"{reason}; expected {reader.within} alone in what is scored. Take within='full'."
        )
    return found


def _why_not(reader: LikelihoodReader, trial: Trial, side: int, start: int) -> str:
    """Why one side of a region cannot be scored, as a part of a sentence; empty if it can."""
    sequence, _ = trial.of(SIDES[side])
    position = reader.foreign(sequence, start)
    if position is not None:
        label = reader.label(sequence, position)
        return f"whose {SIDES[side]} sequence has {label!r} at position {position}"
    if not reader.scored(sequence)[start - 1 :].any():
        return f"whose {SIDES[side]} sequence has none of it from position {start} on"
    return ""


def _sum(values: Tensor, start: int) -> tuple[int, float]:
    """How many tokens are scored from a position on, and the sum of their log-probabilities.

    The sum is rounded once, so that it does not depend on the order of its terms.
    """
    scored = values[start - 1 :]
    scored = scored[~scored.isnan()].double()
    return len(scored), math.fsum(scored.tolist())


def _check(trials: Sequence[Trial], batch_size: int) -> None:
    twice = [name for name, n in Counter(t.name for t in trials).items() if n > 1]
    if not trials or twice:
        raise ValueError(
            f"score_trials: got {len(trials)} trials with repeated names {twice[:4]}, expected at "
            "least one trial, each with a name of its own."
        )
    if batch_size < 1:
        raise ValueError(f"score_trials: got batch_size={batch_size}, expected at least 1.")
