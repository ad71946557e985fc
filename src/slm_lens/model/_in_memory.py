"""A model in memory: what `load` takes, and why not the rest."""

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from slm_lens.families._recorders import is_recorder

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
CHECKPOINTING = "make_inputs_require_grads"
"""Name of the hook that gradient checkpointing puts on the embedding."""


def bare_model(source: nn.Module) -> PreTrainedModel:
    """The model, if it can be hooked as it is.

    Args:
        source: what the user handed over.

    Returns:
        The same object.

    Raises:
        TypeError: it is no plain Hugging Face model: hooked already, compiled, or wrapped.
        ValueError: it has hooks, functions in the place of a forward, or an adapter in it, which
            would stay in the hooked model unseen.
    """  # noqa: DOC502 (raised by the parts)
    kind = type(source).__name__
    if any(isinstance(m, TransformerBridge | GeneralizedComponent) for m in source.modules()):
        raise TypeError(
            f"load: got a {kind}, which is hooked already, expected a plain transformers model. "
            "Use the hooked model itself, or load its checkpoint again."
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
    _refuse_headless(source)
    _refuse_hooks(source)
    _refuse_forwards(source)
    _refuse_adapters(source)
    return source


def _refuse_headless(model: PreTrainedModel) -> None:
    """Refuse the part of a language model that ends before the unembedding."""
    kind, model_type = type(model).__name__, model.config.model_type
    whole = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    if whole is not None and MODEL_MAPPING_NAMES.get(model_type) == kind:
        raise TypeError(
            f"load: got a {kind}, which has no unembedding, expected a language model. Pass the "
            f"{whole} around it."
        )


def _refuse_hooks(model: PreTrainedModel) -> None:
    """Refuse hooks inside a model: they would act on, and nothing would show them."""
    hooks = {
        name: acting
        for name, m in model.named_modules()
        if (acting := [h for t in HOOKS for h in getattr(m, t).values() if not is_recorder(h)])
    }
    if hooks:
        # gradient_checkpointing_disable alone leaves its hook.
        by_training = any(CHECKPOINTING in _written(h) for acting in hooks.values() for h in acting)
        cure = (
            "model.gradient_checkpointing_disable(); model.disable_input_require_grads()"
            if by_training
            else "the handle's remove()"
        )
        raise ValueError(
            f"load: the model in memory has PyTorch hooks on {list(hooks)[:4]}, expected none: "
            "they would stay in the hooked model after you removed them. Remove them first: "
            f"{cure}."
        )


def _refuse_forwards(model: PreTrainedModel) -> None:
    """Refuse functions in the place of a forward that a copy of the model would not follow."""
    wrapped = [name or "the model itself" for name, m in model.named_modules() if not _follows(m)]
    if wrapped:
        raise ValueError(
            f"load: the model in memory has a forward of its own on {wrapped[:4]}, expected that "
            "of its class: it would go on calling the modules that you gave, past every hook. "
            "Load the model before you wrap it, or take the wrapper off: del module.forward."
        )


def _refuse_adapters(model: PreTrainedModel) -> None:
    """Refuse adapters inside a model: they would act on, and nothing would show them."""
    adapted = [name for name, m in model.named_modules() if hasattr(m, "base_layer")]
    if adapted:
        raise ValueError(
            f"load: the model in memory has a live adapter on {adapted[:4]}, expected none, or one "
            "that stands in the provenance. Merge it (merge_and_unload), or load the base model "
            "with adapter=FOLDER, merge_adapter=False."
        )


def _follows(module: nn.Module) -> bool:
    """Whether a copy of the module runs the copy's parts: its forward is its class's.

    A bound method and what Accelerate puts around one are copied with the module that they are
    bound to, and torch.compile(module) makes its forward anew; any other function is not copied,
    and keeps the modules that it was made with.
    """
    own = module.__dict__.get("forward")
    made_in = getattr(own.func, "__module__", None) if isinstance(own, functools.partial) else None
    if made_in == "accelerate.hooks":
        own = module.__dict__.get("_old_forward")
    if own is None or type(module).__name__ == "OptimizedModule":
        return True
    of_class = inspect.unwrap(type(module).forward)
    return (
        isinstance(own, MethodType)
        and own.__self__ is module
        and inspect.unwrap(own.__func__) is of_class
    )


def _written(hook: Callable[..., Any]) -> str:
    return getattr(hook, "__qualname__", "")
