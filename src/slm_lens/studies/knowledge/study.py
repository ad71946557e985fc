"""The study ``knowledge``: spoken facts, transcription of their words, and pairs.

`study_knowledge` makes the items for each model; `knowledge_of` does the rest for any items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from slm_lens.corpus.folder import read_utterances
from slm_lens.corpus.trial_folder import Layout
from slm_lens.likelihood.trial import Region
from slm_lens.likelihood.trial_scores import Norm
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.pair_sets import PairTrial
from slm_lens.phases.random_weights import random_weights
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment_files import Missing, Overlap
from slm_lens.studies.knowledge.accuracies import accuracy_table, gap_table
from slm_lens.studies.knowledge.across_models import across_models, model_table
from slm_lens.studies.knowledge.captions import captioned
from slm_lens.studies.knowledge.fact_items import ORGANISM, FactItem, organism_items
from slm_lens.studies.knowledge.findings import findings
from slm_lens.studies.knowledge.item_correlations import bin_table, correlation_table
from slm_lens.studies.knowledge.measured import RANDOM, ModelKnowledge, measure_model
from slm_lens.studies.knowledge.pair_accuracies import SCHEMA, pair_table, read_pair_trials
from slm_lens.studies.knowledge.table_items import FactColumns, TableFormat, table_items
from slm_lens.studies.knowledge.word_counts import read_word_counts
from slm_lens.studies.study_result import StudyResult


@dataclass(frozen=True, kw_only=True)
class KnowledgeOptions:
    """Options of the study.

    Attributes:
        data: ``"organism"`` for the facts of its language, or a table of facts: a Parquet file or
            folder, or a data set of Hugging Face on the hub or on disk.
        format: of a table: how it is stored.
        split: of Hugging Face: which split.
        name_column, category_column, subject_column: of a table: names of the items, the fact's
            category, its subject.
        prompt_audio_column, correct_audio_column, counterfactual_audio_column: of a table: sound.
        prompt_text_column, correct_text_column, counterfactual_text_column: of a table: text.
        prompt_words_column: of a table: word times of the spoken prompt.
        overlap: of a table: what to do with words that overlap in time.
        missing: of a table: what to do with words without times.
        clips: a folder of clips with word times, on which the layer is chosen, or ``"held-out"``.
        word_counts: a table with the columns ``word`` and ``count`` (``.csv``, ``.parquet``); None
            for the organism's training text with its facts, and else for no partial correlation.
        pairs: ``"organism"`` for words, word order and story endings in its language; a folder of
            trials; or None for no pairs.
        pairs_layout: of a folder of trials, see `TrialFolder`.
        pairs_subfolders: likewise.
        n_counterfactuals: wrong words for each of the organism's facts.
        k: a word of this rank or better among text rows is transcribed.
        norm: of the margins in correlations and findings: nats a token, or their sum.
        region: of the same: the completion, or all tokens.
        n_bootstrap: resamples of clusters, and shuffled pairings; 0 for no intervals.
        seed: of voices, wrong words, control words, resamples and random weights.

    Raises:
        ValueError: a number is out of range.
    """

    data: str = ORGANISM
    format: TableFormat = "parquet"
    split: str | None = None
    name_column: str | None = None
    category_column: str | None = None
    subject_column: str | None = None
    prompt_audio_column: str | None = None
    correct_audio_column: str | None = None
    counterfactual_audio_column: str | None = None
    prompt_text_column: str | None = None
    correct_text_column: str | None = None
    counterfactual_text_column: str | None = None
    prompt_words_column: str | None = None
    overlap: Overlap = "refuse"
    missing: Missing = "refuse"
    clips: str = "held-out"
    word_counts: str | None = None
    pairs: str | None = ORGANISM
    pairs_layout: Layout | None = None
    pairs_subfolders: bool | None = None
    n_counterfactuals: int = 3
    k: int = 5
    norm: Norm = "mean"
    region: Region = "completion"
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.n_bootstrap < 0:
            raise ValueError(
                f"knowledge: got k={self.k} and n_bootstrap={self.n_bootstrap}, expected k of 1 or "
                "more and 0 or more resamples."
            )

    def columns(self) -> FactColumns:
        """Columns of a table.

        Returns:
            Those that are named.
        """
        ending = "_column"
        named = {k.removesuffix(ending): v for k, v in vars(self).items() if k.endswith(ending)}
        return FactColumns(**named)


@dataclass(frozen=True, eq=False)
class Asked:
    """A model and what it is asked.

    Attributes:
        model: the model.
        items: facts, made for it.
        clips: spoken clips on which its layer of transcription is chosen.
        pairs: further pairs.
    """

    model: HookedSLM
    items: Sequence[FactItem]
    clips: Sequence[Utterance]
    pairs: Sequence[PairTrial] = ()


def study_knowledge(models: Sequence[HookedSLM], options: KnowledgeOptions) -> StudyResult:
    """Ask models spoken facts, and whether they know what they transcribe.

    Args:
        models: models with text and speech.
        options: of the study.

    Returns:
        Tables and findings.

    Raises:
        ValueError: columns are named for the organism's facts, or what the parts refuse.
        LookupError: there are no such data.
        ImportError: something is to be spoken, and there is no espeak-ng.
    """  # noqa: DOC502 (some raised by the functions it calls)
    named = [k for k, v in asdict(options.columns()).items() if v is not None]
    if options.data == ORGANISM and named:
        raise ValueError(
            f"knowledge: got the columns {named} with data={ORGANISM!r}, expected columns for a "
            "table alone. Name the table: data=facts.parquet."
        )
    counts = read_word_counts(options.word_counts, options.data)
    asked = [
        Asked(
            model,
            _items(model, options),
            read_utterances(model, options.clips),
            _pairs(model, options),
        )
        for model in models
    ]
    return knowledge_of(asked, options, word_counts=counts)


def knowledge_of(
    asked: Sequence[Asked], options: KnowledgeOptions, *, word_counts: Mapping[str, int] | None
) -> StudyResult:
    """The study on given items.

    Args:
        asked: models with their items, the same facts for each.
        options: of the study; what says how items are made counts only as a part of the settings.
        word_counts: how often words (lower case) occur in the models' training; None if not known.

    Returns:
        Tables and findings.
    """
    measured, controls, pairs = list[ModelKnowledge](), list[ModelKnowledge](), list[pl.DataFrame]()
    resampled: dict[str, Any] = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    for one in asked:
        untrained = random_weights(one.model, seed=options.seed)
        for model, label, found in (
            (one.model, one.model.provenance.name, measured),
            (untrained, one.model.provenance.name + RANDOM, controls),
        ):
            found.append(
                measure_model(
                    model,
                    one.items,
                    one.clips,
                    label=label,
                    k=options.k,
                    word_counts=word_counts,
                    **resampled,
                )
            )
            if one.pairs:
                pairs.append(pair_table(label, model, one.pairs, **resampled))
    scored: dict[str, Any] = {"norm": options.norm, "region": options.region, **resampled}
    everyone = [m for both in zip(measured, controls, strict=True) for m in both]
    frames = {
        "accuracy": accuracy_table(everyone, **resampled),
        "gaps": gap_table(measured, **resampled),
        "transcription": model_table(everyone),
        "correlations": correlation_table(everyone, **scored),
        "bins": bin_table(measured, k=options.k, **scored),
        "across_models": across_models(measured, **scored),
        "pairs": pl.concat(pairs) if pairs else pl.DataFrame(schema=SCHEMA),
        "items": _item_table(everyone),
    }
    return StudyResult(
        study="knowledge",
        findings=findings(frames, options.norm, options.region, options.k),
        tables=captioned(frames, options.norm, options.region, options.k),
        provenance={m.model: m.provenance for m in everyone},
        settings=asdict(options),
    )


def _items(model: HookedSLM, options: KnowledgeOptions) -> list[FactItem]:
    if options.data == ORGANISM:
        return organism_items(model, n_counterfactuals=options.n_counterfactuals, seed=options.seed)
    return table_items(
        model,
        options.data,
        options.columns(),
        format=options.format,
        split=options.split,
        overlap=options.overlap,
        missing=options.missing,
    )


def _pairs(model: HookedSLM, options: KnowledgeOptions) -> Sequence[PairTrial]:
    if options.pairs is None:
        return ()
    return read_pair_trials(
        model,
        options.pairs,
        layout=options.pairs_layout,
        subfolders=options.pairs_subfolders,
        seed=options.seed,
    )


def _item_table(everyone: Sequence[ModelKnowledge]) -> pl.DataFrame:
    """Every item of every model, with its margins in every setting, norm and region."""
    return pl.concat(
        one.items.join(one.margins, on="item", maintain_order="left").select(
            pl.lit(one.model).alias("model"), pl.all()
        )
        for one in everyone
    )
