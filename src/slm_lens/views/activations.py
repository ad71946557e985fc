"""Activations of neurons or features along a spoken sentence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.units import Units
from slm_lens.views._as_array import as_array
from slm_lens.views.circuits import Renderer, check_renderer, circuitsvis_view, safe_labels
from slm_lens.views.page import View
from slm_lens.views.tokens import described_positions
from slm_lens.vocab import SpeechTextVocab

MAX_VALUES = 4_000_000
"""16 MB of float32; more is no file to send to somebody."""


def activations(
    values: Tensor | np.ndarray,
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab,
    *,
    names: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    quantity: str = "activation",
    units: Units | None = None,
    renderer: Renderer = "canvas",
    title: str = "Activations",
    utterance: str | None = None,
) -> View:
    """One neuron or feature at a time: its course over the sentence, and the tokens coloured by it.

    Neurons are listed by their largest absolute activation in this sentence.

    Args:
        values: ``[n_positions, n_neurons]`` or ``[layer, n_positions, n_neurons]``, such as
            ``torch.stack([cache["post", i][0] for i in layers])``, or codes of an autoencoder.
        sequence: what the model read.
        vocab: the model's vocabulary.
        names: name of each neuron or feature; None for their numbers.
        layers: which layers the values are of; None for ``0, 1, ...``.
        quantity: what the numbers are, with their unit.
        units: the units that the sequence was made from, for the time of each one.
        renderer: ``"circuitsvis"`` for the view of that package, of up to 64 positions.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        ValueError: the values are of another sequence, are not finite or too many for a page, or
            have other names or layers than was said; an unknown renderer.
    """
    check_renderer(renderer, "activations")
    found = _checked(values, sequence)
    n_layers, _, n_neurons = found.shape
    neurons = [str(i) for i in range(n_neurons)] if names is None else list(names)
    numbers = list(range(n_layers)) if layers is None else list(layers)
    if (len(numbers), len(neurons)) != (n_layers, n_neurons):
        raise ValueError(
            f"activations: got {len(numbers)} layers and {len(neurons)} names for values of "
            f"{n_layers} layers and {n_neurons} neurons, expected one for each."
        )
    description = (
        f"{quantity.capitalize()} of {n_neurons} neurons or features in {n_layers} "
        f"{'layer' if n_layers == 1 else 'layers'} at {len(sequence)} positions."
    )
    if renderer == "circuitsvis":
        properties = {
            "tokens": safe_labels(sequence, vocab),
            "activations": found.transpose(1, 0, 2).tolist(),
            "firstDimensionLabels": [str(i) for i in numbers],
            "secondDimensionLabels": neurons,
        }
        texts = (title, description, utterance)
        return circuitsvis_view(
            "TextNeuronActivations", properties, len(sequence), texts, "activations"
        )
    data: dict[str, Any] = {
        **described_positions(sequence, vocab, units=units),
        "names": neurons,
        "layers": numbers,
        "values": [np.ascontiguousarray(of.T) for of in found],  # a neuron's values side by side
        "quantity": quantity,
    }
    return View("activations", data, title, description, utterance, ("tokens",))


def _checked(
    values: Tensor | np.ndarray, sequence: SpeechTextSequence
) -> Float[np.ndarray, "layer n_tokens n_neurons"]:
    found = as_array(values)
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or found.shape[1] != len(sequence) or not found.size:
        raise ValueError(
            f"activations: got values of shape {tuple(np.shape(values))} for {len(sequence)} "
            f"positions, expected [{len(sequence)}, n_neurons], with the layer before it if there "
            "are several. Take one sequence of a batch."
        )
    if found.size > MAX_VALUES:
        raise ValueError(
            f"activations: got {found.size} values, expected at most {MAX_VALUES} on a page. "
            "Choose neurons: values[..., [3, 17]] with names=['3', '17']."
        )
    if not np.isfinite(found).all():
        raise ValueError(
            "activations: got values that are not finite, expected numbers. Was the model run in "
            "float16? Use bfloat16 or float32."
        )
    return found
