"""What a lens needs of a model."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from slm_lens.vocab import SpeechTextVocab


@runtime_checkable
class SpeechTextModel(Protocol):
    """A TransformerLens bridge that knows its vocabulary.

    Attributes:
        cfg: TransformerLens configuration (``n_layers``, ``d_model``, ``d_vocab``, ``device``,
            ``model_name``).
        adapter: TransformerLens adapter, which holds the transform after the unembedding.
        training: whether the model is in training mode.
        vocab: who owns which row of the embedding.
        W_U: unembedding, ``[d_model, d_vocab]``.
        b_U: bias of the unembedding, ``[d_vocab]``.
    """

    cfg: Any
    adapter: Any
    training: bool
    vocab: SpeechTextVocab

    @property
    def W_U(self) -> Tensor: ...

    @property
    def b_U(self) -> Tensor: ...

    def get_submodule(self, target: str) -> nn.Module: ...

    def run_with_cache(self, *args: Any, **kwargs: Any) -> Any: ...
