"""The study `geometry`: do speech and text states meet?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from slm_lens.corpus.folder import read_utterances
from slm_lens.geometry.paired import (
    PairedStates,
    PairedUtterance,
    paired_states,
    paired_with_text,
)
from slm_lens.lens.states import choose_forward, provenance_of
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.random_weights import random_weights
from slm_lens.studies.geometry.aligned import (
    AlignedStates,
    agreement_table,
    aligned_by_warping,
    aligned_by_words,
)
from slm_lens.studies.geometry.captions import CAPTIONS, is_on_page
from slm_lens.studies.geometry.cka_tables import cka_tables, layer_maps
from slm_lens.studies.geometry.decision_tables import attention_table, gap_table
from slm_lens.studies.geometry.decisions import decisions
from slm_lens.studies.geometry.example import example_tables
from slm_lens.studies.geometry.findings import findings
from slm_lens.studies.geometry.layers import layer_tables
from slm_lens.studies.geometry.measures import Measured, measure
from slm_lens.studies.geometry.mismatched import nearest_others
from slm_lens.studies.geometry.options import GeometryOptions
from slm_lens.studies.study_result import StudyResult, StudyTable


def study_geometry(models: Sequence[HookedSLM], options: GeometryOptions) -> StudyResult:
    """Compare the states of the same words, spoken and written.

    Args:
        models: models with text and their unit tokenizer.
        options: of the study.

    Returns:
        The tables `layers`, `excess`, `cka`, `cka_rows`, `agreement`, `attention`, `gap`,
        `example` and `example_path`, with findings.

    Raises:
        ValueError: fewer than two utterances, or a base layer that a model does not have.
        VocabError: a model without text.
    """  # noqa: DOC502 (VocabError is raised by paired_with_text)
    paired = []
    for model in models:
        spoken = read_utterances(model, options.data)[: options.n_utterances]
        paired.append((model, [paired_with_text(model, u) for u in spoken]))
    return compare_pairs(paired, options)


def compare_pairs(
    paired: Sequence[tuple[HookedSLM, Sequence[PairedUtterance]]], options: GeometryOptions
) -> StudyResult:
    """`study_geometry` for utterances that are already there.

    Args:
        paired: models, each with the utterances as it reads them.
        options: of the study; `data` and `n_utterances` are not looked at.

    Returns:
        The result.

    Raises:
        ValueError: fewer than two utterances, or a base layer that a model does not have.
    """  # noqa: DOC502 (raised by _check)
    found: dict[str, list[pl.DataFrame]] = {name: [] for name in CAPTIONS}
    provenance = {}
    for i, (model, pairs) in enumerate(paired):
        _check(model, pairs, options)
        tables = _tables(model, pairs, options)
        for name, table in tables.items():
            if i == 0 or not name.startswith("example"):
                found[name].append(table)
        provenance[model.provenance.name] = provenance_of(
            model, choose_forward(model, "auto", "study 'geometry'")
        )
    frames = {name: pl.concat(parts) for name, parts in found.items()}
    return StudyResult(
        study="geometry",
        findings=findings(frames, options),
        tables={n: StudyTable(f, CAPTIONS[n], is_on_page(n, f)) for n, f in frames.items()},
        provenance=provenance,
        settings=asdict(options),
    )


def base_layer(model: HookedSLM, options: GeometryOptions) -> int:
    """The layer whose cosines are warped.

    Args:
        model: the model.
        options: of the study.

    Returns:
        As the options have it, else two thirds of the way up, rounded.
    """
    return round(2 / 3 * model.cfg.n_layers) if options.base_layer is None else options.base_layer


def _check(model: HookedSLM, pairs: Sequence[PairedUtterance], options: GeometryOptions) -> None:
    n_layers = model.cfg.n_layers
    if len(pairs) < 2 or not 0 <= base_layer(model, options) <= n_layers:
        raise ValueError(
            f"study 'geometry': got {len(pairs)} utterances and base_layer={options.base_layer} "
            f"for {model.provenance.name}, expected at least two utterances and a layer from 0 to "
            f"{n_layers}."
        )


@dataclass(frozen=True, eq=False)
class _Copy:
    """What is kept of a copy with random weights: none of its states."""

    measured: Mapping[str, Measured]
    maps: tuple[np.ndarray, np.ndarray]


def _tables(
    model: HookedSLM, pairs: Sequence[PairedUtterance], options: GeometryOptions
) -> dict[str, pl.DataFrame]:
    name, n, layer = model.provenance.name, len(pairs), base_layer(model, options)
    others = nearest_others(
        [tuple(w.word for w in p.speech.words) for p in pairs], options.n_mismatched, options.seed
    )
    copies = list(_random_copies(model, pairs, others, options))
    forward = choose_forward(model, "auto", "study 'geometry'")
    states = paired_states(model, pairs, batch_size=options.batch_size, forward=forward)
    drawn = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    layers, excess = layer_tables(
        name, measure(states, others), [c.measured for c in copies], n_utterances=n, **drawn
    )
    aligned = _aligned(pairs, states, layer, options)
    cka, rows = cka_tables(name, aligned, [c.maps for c in copies], others, options)
    found = decisions(model, pairs, others, n_prompts=options.n_prompts)
    attention = attention_table(name, found, n_utterances=n, **drawn)
    cells, path = example_tables(name, pairs[0].name, states[0], layer)
    return {
        "layers": layers,
        "excess": excess,
        "cka": cka,
        "cka_rows": rows,
        "agreement": agreement_table(name, states, **drawn),
        "attention": attention,
        "gap": gap_table(name, found, excess, attention, n_utterances=n, **drawn),
        "example": cells,
        "example_path": path,
    }


def _random_copies(
    model: HookedSLM,
    pairs: Sequence[PairedUtterance],
    others: Sequence[Sequence[int]],
    options: GeometryOptions,
) -> Iterator[_Copy]:
    """The same of copies with random weights, one at a time, by the same forward pass."""
    forward = choose_forward(model, "auto", "study 'geometry'")
    seeds = np.random.SeedSequence(options.seed).generate_state(options.n_random)
    for seed in seeds.tolist():
        copy = random_weights(model, seed=seed)
        states = paired_states(copy, pairs, batch_size=options.batch_size, forward=forward)
        aligned = _aligned(pairs, states, base_layer(model, options), options)
        yield _Copy(measure(states, others), layer_maps(aligned, options))


def _aligned(
    pairs: Sequence[PairedUtterance],
    states: Sequence[PairedStates],
    layer: int,
    options: GeometryOptions,
) -> AlignedStates:
    if options.align == "words":
        return aligned_by_words(states)
    tokens = [text_tokens(pair) for pair in pairs]
    return aligned_by_warping(states, tokens, base_layer=layer)


def text_tokens(pair: PairedUtterance) -> tuple[int, ...]:
    """Ids of the text tokens of an utterance.

    Args:
        pair: the utterance.

    Returns:
        Ids at the positions of kind text.
    """
    of = zip(pair.text.tokens.tolist(), pair.text.kinds, strict=True)
    return tuple(token for token, kind in of if kind == "text")
