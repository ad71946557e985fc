"""Tokens coloured by numbers: attributions, effects of patching and ablation, anything by position.

```python
coloured_tokens({"surprisal": nats}, sequence, model.vocab, quantity="nats")
attributed_tokens(attribute_directly(...), model.vocab)  # also of `attribute_nodes`
ablated_tokens(ablate_words(...), utterance, model.vocab)
```
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.ablation.word_ablation import WordAblation
from slm_lens.interventions.attribution.direct_result import DirectAttribution
from slm_lens.interventions.attribution.node_result import NodeAttribution
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.views._as_array import as_array
from slm_lens.views.circuits import Renderer, check_renderer, circuitsvis_view, safe_labels
from slm_lens.views.page import View
from slm_lens.views.tokens import described_positions
from slm_lens.vocab import SpeechTextVocab


def coloured_tokens(
    values: Mapping[str, Tensor | np.ndarray],
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab,
    *,
    quantity: str = "score",
    layers: Sequence[int | None] | None = None,
    renderer: Renderer = "canvas",
    title: str = "Tokens by score",
    utterance: str | None = None,
) -> View:
    """Every position in the colour of a number, one set of numbers at a time.

    Zero is the colour of the paper; one scale for all sets, or for each its own.

    Args:
        values: numbers ``[n_positions]`` by name; NaN where there is none. The first is shown.
        sequence: what the model read.
        vocab: the model's vocabulary.
        quantity: what the numbers are, with their unit.
        layers: the layer that each set of numbers is of, which other views of the utterance are
            told and follow; None for sets of no layer.
        renderer: ``"circuitsvis"`` for the view of that package, of up to 64 positions.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        ValueError: there are no numbers, or not one for each position, or infinite ones, or not a
            layer for each set; an unknown renderer, or NaN or too many positions for circuitsvis.
    """
    check_renderer(renderer, "coloured_tokens")
    rows = _checked(values, sequence, layers)
    names = list(values)
    description = (
        f"{len(sequence)} positions coloured by {quantity}; "
        f"{len(names)} {'set' if len(names) == 1 else 'sets'} of numbers: {names[0]}"
        f"{'' if len(names) == 1 else ' and others'}."
    )
    if renderer == "circuitsvis":
        if np.isnan(rows).any():
            raise ValueError(
                "coloured_tokens: got NaN for circuitsvis, expected a number at each position: it "
                "would show NaN as 0. Leave out renderer='circuitsvis'."
            )
        properties = {
            "tokens": safe_labels(sequence, vocab),
            "values": rows.T.tolist(),
            "labels": names,
        }
        texts = (title, description, utterance)
        return circuitsvis_view(
            "ColoredTokensMulti", properties, len(sequence), texts, "coloured_tokens"
        )
    data: dict[str, Any] = {
        **described_positions(sequence, vocab),
        "names": names,
        "layers": [None] * len(names) if layers is None else list(layers),
        "values": rows,
        "quantity": quantity,
    }
    return View("coloured_tokens", data, title, description, utterance, ("tokens",))


def attributed_tokens(
    found: DirectAttribution | NodeAttribution,
    vocab: SpeechTextVocab,
    *,
    number: int = 0,
    title: str | None = None,
    utterance: str | None = None,
) -> View:
    """Attribution by the position that it comes from, for all nodes together and for each one.

    Args:
        found: of `attribute_directly`, heads by the position that they read; of `attribute_nodes`,
            nodes by position of the corrupted run.
        vocab: the model's vocabulary.
        number: which of its utterances or pairs.
        title: heading; None for what was attributed.
        utterance: name that views of one utterance share on a page.

    Returns:
        `coloured_tokens`.

    Raises:
        LookupError: there is no such utterance or pair.
    """
    n = len(found.scores)
    if not 0 <= number < n:
        raise LookupError(f"attributed_tokens: got number={number}, expected 0 <= number < {n}.")
    if isinstance(found, DirectAttribution):
        heads = as_array(found.sources[number])
        sets = {"all heads": heads.sum((0, 1))}
        sets |= {f"heads of layer {i}": of.sum(0) for i, of in enumerate(heads)}
        sets |= {f"L{i}H{h}": row for i, of in enumerate(heads) for h, row in enumerate(of)}
        each = [i for i, of in enumerate(heads) for _ in of]
        layers = [None, *range(len(heads)), *each]
        sequence = found.utterances[number].sequence
        of_what = re.sub(r"<Un(\d+)>", r"unit \1", found.directions[number])
        title = title or f"Direct attribution of {of_what}"
    else:
        scores = as_array(found.summed(number, "positions"))
        sets = {"all nodes": scores.sum(0)}
        sets |= {site.label: row for site, row in zip(found.sites, scores, strict=True)}
        layers = [None, *(site.layer for site in found.sites)]
        sequence = found.question.pairs[number].corrupted
        title = title or f"Attribution patching ({found.method})"
    return coloured_tokens(
        sets,
        sequence,
        vocab,
        quantity="attribution",
        layers=layers,
        title=title,
        utterance=utterance,
    )


def ablated_tokens(
    found: WordAblation,
    of: Utterance,
    vocab: SpeechTextVocab,
    *,
    metric: str | None = None,
    title: str = "Effect of ablating each word",
    utterance: str | None = None,
) -> View:
    """What taking directions out at a word did, on the word's positions; draws are averaged.

    Args:
        found: of `ablate_words`.
        of: one of its utterances.
        vocab: the model's vocabulary.
        metric: which metric; None for the first.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        `coloured_tokens`, a set of numbers for each kind of directions and layer.

    Raises:
        LookupError: the utterance or metric is not in the table.
    """
    names = found.table["metric"].unique(maintain_order=True).to_list()
    metric = metric or names[0]
    rows = found.table.filter(utterance=of.name, metric=metric)
    if rows.is_empty():
        known = found.table["utterance"].unique(maintain_order=True).to_list()
        raise LookupError(
            f"ablated_tokens: got utterance {of.name!r} and metric={metric!r}, expected one of "
            f"{known[:5]} and one of {names}."
        )
    keys = ["directions", "layer", "word_index"]
    means = rows.group_by(keys, maintain_order=True).agg(pl.col("effect").mean())
    sets: dict[str, Float[np.ndarray, " n_tokens"]] = {}
    layers = []
    for (directions, layer), group in means.group_by("directions", "layer", maintain_order=True):
        numbers = np.full(len(of.sequence), np.nan, dtype=np.float32)
        for index, effect in group.select("word_index", "effect").iter_rows():
            word = of.sequence.words[index]
            numbers[word.start : word.end] = effect
        sets[f"{directions}, layer {layer}"] = numbers
        layers.append(layer)
    return coloured_tokens(
        sets,
        of.sequence,
        vocab,
        quantity=f"effect on {metric}",
        layers=layers,
        title=title,
        utterance=utterance,
    )


def _checked(
    values: Mapping[str, Tensor | np.ndarray],
    sequence: SpeechTextSequence,
    layers: Sequence[int | None] | None,
) -> Float[np.ndarray, "n_sets n_tokens"]:
    rows = {name: as_array(row) for name, row in values.items()}
    odd = {name: row.shape for name, row in rows.items() if row.shape != (len(sequence),)}
    if not rows or odd:
        raise ValueError(
            f"coloured_tokens: got values of {len(rows)} names, with shapes {odd}; expected at "
            f"least one name, and one number for each of the {len(sequence)} positions."
        )
    if any(np.isinf(row).any() for row in rows.values()):
        raise ValueError(
            "coloured_tokens: got infinite values, expected numbers, and NaN where there is none. "
            "Cap them, or show ranks."
        )
    if layers is not None and len(layers) != len(rows):
        raise ValueError(
            f"coloured_tokens: got {len(layers)} layers for {len(rows)} sets of numbers, expected "
            "one for each; None for a set of no layer."
        )
    return np.stack(list(rows.values()))
