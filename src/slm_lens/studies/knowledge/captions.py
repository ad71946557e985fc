"""The tables of the study with what a row of each is."""

from collections.abc import Mapping

import polars as pl

from slm_lens.studies.knowledge.measured import RANDOM
from slm_lens.studies.study_result import StudyTable

_TIES = "ties count 0.5; intervals are of resampled clusters (subjects)"


def captioned(
    frames: Mapping[str, pl.DataFrame], norm: str, region: str, k: int
) -> dict[str, StudyTable]:
    """Tables with their captions; the page shows those of one norm and region.

    Args:
        frames: the tables.
        norm: of the numbers on the page.
        region: of the numbers on the page.
        k: rank that counts as transcribed.

    Returns:
        The tables by name.
    """
    captions = {
        "accuracy": "A row is a model, a setting (modality of prompt -> completion), a group of "
        f"items, a norm and a region: the share of items whose right completion is likelier; "
        f"{_TIES}. Region 'all' is every token but the first: it cannot be compared across "
        "settings. Where the prompt is written it adds the same to both sides, and dilutes their "
        "means by its length; where prompt and completion are spoken in one breath, the two sides "
        "have prompts of different units.",
        "gaps": "A row is a model, two settings, a norm and a region: the first accuracy minus the "
        "second on the same items; intervals are of resampled clusters of paired differences. "
        "`same_tokens_scored` says whether both settings score the same kind of tokens, over the "
        "completion; elsewhere the gap mixes hearing the prompt with scoring another modality.",
        "transcription": f"A row is a model: `recall` is the share of content words of held-out "
        f"clips with a rank of {k} or better among text rows at the layer where that is highest; "
        "`shuffled_words`, of words of other clips there; `subjects_transcribed`, the share of the "
        "items' subjects.",
        "correlations": "A row is a model, a setting, what is transcribed (the subject; "
        "`subject_nearness`, -log of its rank; or the share of content words) and a statistic over "
        "items. `shuffled_low` and "
        "`shuffled_high` hold 95 % of pairings shuffled among subjects. In settings T->T and T->S "
        "nothing is heard: they are controls. There is no interval where fewer than 5 subjects "
        "differ from the commonest value of a side.",
        "bins": "A row is a model, a setting and a group of ranks of the subject: accuracy of its "
        f"items; {_TIES}; `shuffled_low` and `shuffled_high` as in `correlations`.",
        "across_models": "A row is a setting and a statistic over models: peak recall on held-out "
        "clips against accuracy. Each of `n_resamples` draws models, clips and subjects; with few "
        "models such an interval is too narrow.",
        "pairs": "A row is a model, a set of pairs, a norm and a region: the share of pairs whose "
        "right side is likelier; ties count 0.5; intervals are of resampled clusters (pairs of "
        "words, or stories).",
        "items": "A row is a model, an item, a setting, a norm and a region: `margin` is the "
        "log-likelihood of the right side minus that of the wrong one, in nats (a token, with "
        "norm 'mean').",
    }
    frames = {**frames, **_on_page(frames, norm, region)}
    captions["page_accuracy"] = (
        f"Rows of `accuracy` over all items, with norm '{norm}' and region '{region}'."
    )
    captions["page_correlations"] = (
        "Rows of `correlations` with the subject of a spoken prompt; `note` says why there is no "
        "number."
    )
    return {
        name: StudyTable(frames[name], caption, name in _SHOWN and len(frames[name]) <= _LONGEST)
        for name, caption in captions.items()
    }


_SHOWN = ("transcription", "page_accuracy", "page_correlations", "across_models")
_LONGEST = 60
"""Rows of a table on a page."""


def _on_page(frames: Mapping[str, pl.DataFrame], norm: str, region: str) -> dict[str, pl.DataFrame]:
    """Rows of the long tables that a page can show, without those of controls."""
    is_model = ~pl.col("model").str.ends_with(RANDOM)
    headline = (pl.col("norm") == norm) & (pl.col("region") == region)
    whole = pl.col("grouping") == "all"
    heard = pl.col("setting").str.starts_with("S") & (pl.col("words") == "subject")
    return {
        "page_accuracy": frames["accuracy"]
        .filter(is_model & headline & whole)
        .drop("grouping", "category", "norm", "region"),
        "page_correlations": frames["correlations"].filter(is_model & heard).drop("words"),
    }
