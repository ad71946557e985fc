"""Views of circuitsvis, guarded: safe names, one copy of it a page, no network, short sequences.

circuitsvis writes tokens as HTML, so ``<s>`` would be seen as nothing and ``</script>`` would end
the view; and its attention takes half a minute for 256 positions. Here a unit is its number,
brackets are other characters of the same look, and longer sequences are refused; what it draws, our
own views draw at any length (`slm_lens.attention_heads`, `slm_lens.coloured_tokens`,
`slm_lens.activations`, without ``renderer``).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.views.page import View
from slm_lens.vocab import SpeechTextVocab

Renderer = Literal["canvas", "circuitsvis"]
RENDERERS: tuple[Renderer, ...] = get_args(Renderer)

MAX_POSITIONS = 64
"""About 3 s to draw 12 heads; 256 positions take half a minute."""

_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "&": "&\u200b"})  # no entity after an empty space


def check_renderer(renderer: Renderer, caller: str) -> None:
    """Refuse an unknown renderer.

    Args:
        renderer: what was asked for.
        caller: the public function, to begin the message with.

    Raises:
        ValueError: it is none of `RENDERERS`.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"{caller}: got renderer={renderer!r}, expected one of {RENDERERS}.")


def safe_labels(sequence: SpeechTextSequence, vocab: SpeechTextVocab) -> list[str]:
    """Names of tokens that mean the same as text and as HTML.

    Args:
        sequence: what the model read.
        vocab: the model's vocabulary.

    Returns:
        For each position the unit's number, or the written form with brackets exchanged.
    """
    unit_of = {t: str(u) for u, t in enumerate(vocab.streams.get("units", ()))}
    return [
        unit_of.get(token) or vocab.label(token).translate(_LOOKALIKES)
        for token in sequence.tokens.tolist()
    ]


def circuitsvis_view(
    component: str,
    properties: Mapping[str, Any],
    n_positions: int,
    texts: tuple[str, str, str | None],
    caller: str,
) -> View:
    """One component of circuitsvis.

    Args:
        component: its name there, such as ``"AttentionHeads"``.
        properties: what it is given, as it names them; plain JSON.
        n_positions: length of the sequence.
        texts: title, description and utterance of the view.
        caller: the public function, to begin the message with.

    Returns:
        The view.

    Raises:
        ValueError: there are too many positions.
    """
    if n_positions > MAX_POSITIONS:
        raise ValueError(
            f"{caller}: got {n_positions} positions for circuitsvis, expected at most "
            f"{MAX_POSITIONS}: it would take minutes. Leave out renderer='circuitsvis'."
        )
    data = {"component": component, "properties": dict(properties)}
    title, description, utterance = texts
    return View("circuits", data, title, description, utterance, ("circuitsvis",))


def attention_through_circuitsvis(
    patterns: Float[np.ndarray, "layer head query key"],
    layers: Sequence[int],
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab,
    texts: tuple[str, str, str | None],
) -> View:
    """``circuitsvis.attention.attention_heads`` of all layers that are given.

    Args:
        patterns: attention.
        layers: which layers they are of.
        sequence: what the model read.
        vocab: the model's vocabulary.
        texts: title, description and utterance of the view.

    Returns:
        The view.
    """
    n = len(sequence)
    properties = {
        "attention": patterns.reshape(-1, n, n).tolist() if n <= MAX_POSITIONS else [],
        "attentionHeadNames": [
            f"L{layer}H{h}" for layer in layers for h in range(len(patterns[0]))
        ],
        "tokens": safe_labels(sequence, vocab),
        "maskUpperTri": not np.triu(patterns, 1).any(),
    }
    return circuitsvis_view("AttentionHeads", properties, n, texts, "attention_heads")
