"""One word exchanged: the states of the sentence with one word put into the one with the other.

Both sentences are spoken by the same voice, so that they differ in one word and in nothing else;
``docs/causal.md`` has what is measured. The sweep goes layer by layer, so that it can be shown as
it grows, and stopped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from slm_lens.app.hearing import Heard
from slm_lens.app.prompts import Announced, likeliest, prompt_of
from slm_lens.interventions.metrics import logit_difference
from slm_lens.interventions.pairs.answers import answer_tokens
from slm_lens.interventions.pairs.matching import match_runs
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.interventions.patching.patch_pairs import patch_pairs
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.site import SiteKind
from slm_lens.model.hooked import HookedSLM

METRIC = "logit_difference"


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """Two sentences that differ in one word, and what tells their predictions apart.

    Attributes:
        pair: the two prompts as runs.
        clean_words: words of the clean prompt.
        corrupted_words: words of the corrupted one.
        answer: how the clean run's answer is written.
        foil: how the corrupted run's is written.
    """

    pair: RunPair
    clean_words: tuple[str, ...]
    corrupted_words: tuple[str, ...]
    answer: str
    foil: str

    @property
    def places(self) -> tuple[str, ...]:
        """A name for each word, such as ``2 zebra (tiger)``: words may occur twice."""
        both = zip(self.clean_words, self.corrupted_words, strict=True)
        return tuple(
            f"{i} {a}" + (f" ({b})" if a != b else "") for i, (a, b) in enumerate(both, start=1)
        )


def counterfactual(
    model: HookedSLM,
    clean: Heard,
    corrupted: Heard,
    *,
    announce: Announced = "text",
    n_words: int | None = None,
    answer: str = "",
    foil: str = "",
) -> Counterfactual:
    """Two prompts, and the answers that they are scored by.

    Args:
        model: the model.
        clean: the sentence.
        corrupted: the sentence with one word exchanged.
        announce: modality that is announced behind both.
        n_words: words of the prompts; None for all.
        answer: a word or units (``<Un17>``) that the clean run should be followed by; empty for
            what the model finds likeliest.
        foil: the same for the corrupted run.

    Returns:
        Both.

    Raises:
        AlignmentError: words are missing.
        ValueError: both runs have the same answer, or the words do not fit.
    """  # noqa: DOC502 (AlignmentError is raised by prompt_of)
    runs = [prompt_of(model, h, announce=announce, n_words=n_words) for h in (clean, corrupted)]
    given = [answer.strip(), foil.strip()]
    tokens = [
        answer_tokens(model.vocab, word, model.word_policy)
        if word
        else (likeliest(model, run.sequence, text_only=announce == "text"),)
        for word, run in zip(given, runs, strict=True)
    ]
    written = [
        word or model.vocab.label(ids[0]).strip() for word, ids in zip(given, tokens, strict=True)
    ]
    if set(tokens[0]) & set(tokens[1]):
        raise ValueError(
            f"got {written[0]!r} as the answer of both sentences, expected two answers that the "
            "first token tells apart: there is nothing to bring back. Name an answer and a foil, "
            "or exchange another word."
        )
    a, b = runs[0].sequence, runs[1].sequence
    pair = RunPair(clean.name, a, b, tokens[0], tokens[1], match_runs(a, b))
    return Counterfactual(
        pair, tuple(w.word for w in a.words), tuple(w.word for w in b.words), *written
    )


def patch_layers(
    model: HookedSLM,
    given: Counterfactual,
    *,
    kind: SiteKind = "resid_pre",
    direction: Direction = "denoising",
    layers: Sequence[int] | None = None,
) -> Iterator[Patching]:
    """Patch every word, one layer after the other.

    Args:
        model: the model.
        given: the two runs.
        kind: which activation is moved.
        direction: ``"denoising"`` puts the clean run's states into the corrupted run.
        layers: which layers; None for all.

    Yields:
        What is known so far: after each layer, all layers up to it.
    """
    tables: list[pl.DataFrame] = []
    for layer in range(model.cfg.n_layers) if layers is None else layers:
        one = patch_pairs(
            model,
            [given.pair],
            kind,
            metrics=[logit_difference()],
            direction=direction,
            layers=[layer],
            progress=False,
        )
        tables.append(one.table)
        yield replace(one, table=pl.concat(tables))


def by_place(given: Counterfactual, patching: Patching) -> pl.DataFrame:
    """The recovery of every layer and word, for a heat map.

    Args:
        given: the two runs.
        patching: what `patch_layers` gave.

    Returns:
        ``layer``, ``place`` (as in `Counterfactual.places`; ``start`` and ``end`` outside the
        words) and ``estimate``.

    Raises:
        ValueError: the runs hardly differ in what they predict.
    """  # noqa: DOC502 (raised by recovery)
    names, i = list[str](), -1
    spans = [(w.start, w.end) for w in given.pair.clean.words]
    for match in given.pair.matches:
        if match.role in ("start", "end"):
            names.append(match.role)
            continue
        i = spans.index(match.clean)
        names.append(given.places[i])
    rows = patching.recovery(METRIC)
    n_layers = len(rows) // len(names)
    return rows.select(
        "layer", pl.Series("place", names * n_layers), pl.col("recovery").alias("estimate")
    )
