"""A model in memory: what `load` takes, and why not the rest."""

from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def bare_model(source: nn.Module) -> PreTrainedModel:
    """The model, if it can be hooked as it is.

    Args:
        source: what the user handed over.

    Returns:
        The same object.

    Raises:
        TypeError: it is no plain Hugging Face model: hooked already, compiled, or wrapped.
        ValueError: it has hooks or an adapter in it, which would stay in the hooked model unseen.
    """  # noqa: DOC502 (raised by _refuse_parts)
    kind = type(source).__name__
    if isinstance(source, TransformerBridge):
        raise TypeError(
            f"load: got a {kind}, which is hooked already, expected a plain transformers model. "
            "Use it as it is, or load its checkpoint again."
        )
    inner = {"OptimizedModule": "_orig_mod", "DataParallel": "module"}
    inner["DistributedDataParallel"] = "module"
    if kind in inner:
        raise TypeError(
            f"load: got a {kind} around a model, expected a plain transformers model. Pass "
            f"model.{inner[kind]}."
        )
    if kind.startswith("Peft"):
        raise TypeError(
            f"load: got a {kind}, expected a plain transformers model. Pass "
            "model.merge_and_unload(), or the base model with adapter=FOLDER."
        )
    if not isinstance(source, PreTrainedModel):
        raise TypeError(
            f"load: got a {kind}, expected a transformers model, a folder, a hub id or the name "
            "of an embedded model."
        )
    _refuse_parts(source)
    return source


def _refuse_parts(model: PreTrainedModel) -> None:
    """Refuse hooks and adapters inside a model: they would act on, and nothing would show them."""
    hooked = [name for name, m in model.named_modules() if any(getattr(m, h) for h in HOOKS)]
    if hooked:
        raise ValueError(
            f"load: the model in memory has PyTorch hooks on {hooked[:4]}, expected none: they "
            "would stay in the hooked model after you removed them. Remove them first."
        )
    adapted = [name for name, m in model.named_modules() if hasattr(m, "base_layer")]
    if adapted:
        raise ValueError(
            f"load: the model in memory has a live adapter on {adapted[:4]}, expected none, or one "
            "that stands in the provenance. Merge it (merge_and_unload), or load the base model "
            "with adapter=FOLDER, merge_adapter=False."
        )
