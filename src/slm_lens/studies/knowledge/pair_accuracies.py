"""Accuracies of pairs: words, word order and story endings, or a data set of trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import Limits
from slm_lens.corpus.items import TrialItem
from slm_lens.corpus.joined_trials import joined_trial
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.trial_folder import LAYOUTS, Layout
from slm_lens.likelihood.score_trials import score_trials
from slm_lens.likelihood.trial_scores import CHANCE, NORMS
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.pair_sets import PairTrial, pair_trials
from slm_lens.studies.knowledge.accuracies import mean_of_clusters
from slm_lens.studies.knowledge.fact_items import ORGANISM
from slm_lens.studies.knowledge.transcription import BATCH

SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("model", "set", "modality", "norm", "region"), pl.String),
    **dict.fromkeys(("estimate", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_trials", "n_clusters", "n_ties"), pl.Int64),
    "chance": pl.Float64,
}


def read_pair_trials(
    model: HookedSLM, pairs: str, *, layout: Layout | None, subfolders: bool | None, seed: int
) -> Sequence[PairTrial]:
    """Pairs for one model.

    Args:
        model: the model.
        pairs: ``"organism"`` for the three sets in its language, or a folder of trials.
        layout: of the folder.
        subfolders: of the folder, as in `TrialFolder`.
        seed: of the organism's sets.

    Returns:
        The pairs; of a folder, each is a cluster of its own.

    Raises:
        ValueError: a folder without layout, or the organism's sets with one.
    """
    if (pairs == ORGANISM) != (layout is None):
        raise ValueError(
            f"knowledge: got pairs={pairs!r} with pairs_layout={layout!r}, expected one of "
            f"{LAYOUTS} for a folder of trials, and none for {ORGANISM!r}."
        )
    if pairs == ORGANISM:
        return pair_trials(model, seed=seed)
    config = DataConfig(format="trials", path=pairs, layout=layout, subfolders=subfolders)
    data, found = open_dataset(config, Limits()), []
    tokenizer = model.unit_tokenizer
    for key in data.item_keys():
        item = data.read(key, sample_rate_hz=tokenizer.sample_rate_hz)
        assert isinstance(item, TrialItem)
        trial = joined_trial(model, key.name, item.with_units(tokenizer))
        found.append(PairTrial(trial, key.name, "speech"))
    return found


def pair_table(
    label: str, model: HookedSLM, pairs: Sequence[PairTrial], *, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """Share of pairs whose right side is likelier; ties count 0.5.

    Args:
        label: what the model is called.
        model: the model.
        pairs: the pairs.
        n_bootstrap: resamples of clusters.
        seed: of the resamples.

    Returns:
        A row for each set, modality, norm and region that is known.
    """
    rows = []
    for name, modality in dict.fromkeys((p.trial.part, p.modality) for p in pairs):
        chosen = [p for p in pairs if (p.trial.part, p.modality) == (name, modality)]
        cluster = np.array([p.cluster for p in chosen])
        trials = [p.trial for p in chosen]
        scores = score_trials(model, trials, batch_size=BATCH, progress=False)
        known = all(t.right_start is not None for t in trials)
        for norm in NORMS:
            for region in ("all", "completion") if known else ("all",):
                margin = scores.margins(norm=norm, region=region)["margin"].to_numpy()
                correct = (np.sign(margin) + 1) / 2
                curve, n_clusters = mean_of_clusters(correct, cluster, n_bootstrap, seed)
                ends = [None if np.isnan(e[0]) else float(e[0]) for e in curve.interval()]
                counts = (len(trials), n_clusters, int((margin == 0).sum()))
                keys = (label, name, modality, norm, region)
                rows.append((*keys, float(curve.estimate[0]), *ends, *counts, CHANCE))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
