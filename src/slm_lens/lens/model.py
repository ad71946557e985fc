"""What a lens needs of a model."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from slm_lens.model.provenance import Provenance
from slm_lens.vocab import SpeechTextVocab


@runtime_checkable
class LensModel(Protocol):
    """A TransformerLens bridge, as far as a lens uses it.

    Attributes:
        cfg: TransformerLens configuration (``n_layers``, ``d_model``, ``d_vocab``, ``device``).
        adapter: TransformerLens adapter, which holds the transform after the unembedding.
        original_model: the Hugging Face model, with the bridge's parts inside.
        training: whether the model is in training mode.
    """

    cfg: Any
    adapter: Any
    original_model: Any
    training: bool

    @property
    def W_U(self) -> Tensor:
        """Unembedding."""
        ...

    @property
    def b_U(self) -> Tensor:
        """Bias of the unembedding."""
        ...

    def get_submodule(self, target: str) -> nn.Module:
        """A part of the model by its TransformerLens name, such as ``ln_final``."""
        ...

    def run_with_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Logits and the activations at the named hooks."""
        ...


@runtime_checkable
class SpeechTextModel(LensModel, Protocol):
    """A bridge that knows its vocabulary, and what its numbers depend on.

    Attributes:
        vocab: who owns which row of the embedding.
    """

    vocab: SpeechTextVocab

    @property
    def provenance(self) -> Provenance:
        """What the numbers depend on now."""
        ...


def require_vocabulary(model: object, caller: str) -> None:
    """Refuse a bridge that does not know its vocabulary.

    Args:
        model: the model.
        caller: the public function, to begin the message with.

    Raises:
        TypeError: it knows none.
    """
    if not isinstance(model, SpeechTextModel):
        raise TypeError(
            f"{caller}: got a {type(model).__name__} that knows no vocabulary, expected one with "
            "text, units and words. slm_lens.load(hf_model, vocab_spec=...) gives it."
        )
