"""`ModelKnowledge`: what one model gave to all items, from which every table is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from slm_lens.likelihood.score_trials import score_trials
from slm_lens.likelihood.trial import REGIONS
from slm_lens.likelihood.trial_scores import NORMS
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.knowledge.fact_items import SETTINGS, FactItem, Setting
from slm_lens.studies.knowledge.transcription import (
    BATCH,
    Peak,
    transcribed_items,
    transcription_peak,
)

RANDOM = ", random weights"
"""Ends the name of a control: a model of the same shape with random weights."""


@dataclass(frozen=True, eq=False)
class ModelKnowledge:
    """One model's answers and transcriptions.

    Attributes:
        model: its name.
        items: one row for each item: ``item``, ``category``, ``exposure``, ``cluster``, and the
            columns of `transcribed_items`.
        margins: one row for each item, setting, norm and region: ``margin`` (right - wrong, in
            nats, or nats a token) and ``correct`` (1, 0, or 0.5 for a tie), items in order.
        peak: where the model transcribes.
        provenance: what the numbers depend on.
    """

    model: str
    items: pl.DataFrame
    margins: pl.DataFrame
    peak: Peak
    provenance: Provenance

    def of(self, setting: str, norm: str, region: str) -> pl.DataFrame:
        """Items with their margins in one setting.

        Args:
            setting: one of `SETTINGS`.
            norm: ``"mean"`` or ``"sum"``.
            region: ``"all"`` or ``"completion"``.

        Returns:
            The columns of `items` with ``margin`` and ``correct``, items in order.
        """
        chosen = self.margins.filter(
            pl.col("setting") == setting, pl.col("norm") == norm, pl.col("region") == region
        )
        return self.items.join(
            chosen.select("item", "margin", "correct"), on="item", maintain_order="left"
        )

    @property
    def settings(self) -> list[str]:
        """Settings that were asked, in the order of `SETTINGS`."""
        asked = set(self.margins["setting"].unique())
        return [s for s in SETTINGS if s in asked]


def measure_model(
    model: HookedSLM,
    items: Sequence[FactItem],
    clips: Sequence[Utterance],
    *,
    label: str,
    k: int = 5,
    word_counts: Mapping[str, int] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ModelKnowledge:
    """Ask a model all items, and look which words of their prompts it transcribes.

    Args:
        model: the model.
        items: what is asked, made for this model; all in the same settings.
        clips: spoken clips, none of them an item, on which the layer is chosen.
        label: what the model is called.
        k: rank that counts as transcribed.
        word_counts: how often words (lower case) occur in the model's training; None if not known.
        n_bootstrap: resamples of clips.
        seed: of resamples and control words.

    Returns:
        What it gave.

    Raises:
        ValueError: no item, two of one name, or items in other settings than the first one's.
    """  # noqa: DOC502 (raised by _check)
    _check(items)
    peak = transcription_peak(model, clips, k=k, n_bootstrap=n_bootstrap, seed=seed)
    told = pl.DataFrame(
        [(i.name, i.category, i.exposure, i.cluster) for i in items],
        schema=dict.fromkeys(("item", "category", "exposure", "cluster"), pl.String),
        orient="row",
    )
    read = transcribed_items(model, items, peak, k=k, word_counts=word_counts)
    parts, provenance = [], model.provenance
    asked: list[Setting] = [s for s in SETTINGS if s in items[0].trials]
    for setting in asked:
        scores = score_trials(
            model, [i.trials[setting] for i in items], batch_size=BATCH, progress=False
        )
        provenance = scores.provenance
        for norm in NORMS:
            for region in REGIONS:
                margin = scores.margins(norm=norm, region=region)["margin"].to_numpy()
                parts.append(
                    pl.DataFrame({"item": told["item"], "margin": margin}).with_columns(
                        setting=pl.lit(setting),
                        norm=pl.lit(norm),
                        region=pl.lit(region),
                        correct=pl.Series((np.sign(margin) + 1) / 2),
                    )
                )
    return ModelKnowledge(
        model=label,
        items=told.join(read, on="item", maintain_order="left"),
        margins=pl.concat(parts),
        peak=peak,
        provenance=provenance,
    )


def _check(items: Sequence[FactItem]) -> None:
    names = [i.name for i in items]
    twice = sorted({n for n in names if names.count(n) > 1})
    if not items or twice:
        raise ValueError(
            f"knowledge: got {len(items)} items with repeated names {twice[:4]}, expected at least "
            "one item, each with a name of its own."
        )
    other = [i.name for i in items if set(i.trials) != set(items[0].trials)]
    if other:
        raise ValueError(
            f"knowledge: got items in other settings than {sorted(items[0].trials)}, such as "
            f"{other[0]!r}, expected all items in the same ones, so that settings can be compared."
        )
