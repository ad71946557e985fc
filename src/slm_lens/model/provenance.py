"""What the numbers of a model depend on besides its weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a model depend on besides its weights; store it with every result.

    Attributes:
        name: name or folder that was loaded.
        family: which family's layout it was read with, e.g. "sims".
        architecture: Hugging Face class of the language model.
        dtype: dtype of the weights, e.g. "float32".
        attention: attention implementation. Another one changes ranks in half precision.
        adapter: name or folder of the adapter (LoRA) on top, and whether it was merged into the
            weights or is live; None without one.
        compatibility_mode: whether TransformerLens' compatibility mode is on.
        weights_processed: whether it folded and centred weights. That changes the residual
            stream, though not the model's predictions.
    """

    name: str
    family: str
    architecture: str
    dtype: str
    attention: str
    adapter: str | None
    compatibility_mode: bool
    weights_processed: bool
