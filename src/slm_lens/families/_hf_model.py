"""The Hugging Face language model of a checkpoint, with every weight accounted for.

Weights go from the files into the model one tensor at a time, in the dtype and on the device where
they will stay; what keeps its dtype on a CPU stays mapped to the file and costs no copy.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from slm_lens.families._foreign import foreign
from slm_lens.families._recorders import is_recorder
from slm_lens.families._skeleton import tied_weights
from slm_lens.families._weights import StoredTensor, stored_dtype

DeviceMap = str | dict[str, int | str | torch.device]


@dataclass(frozen=True)
class Placement:
    """Where the weights go, and as what.

    Attributes:
        dtype: dtype to load them in; None keeps the one on disk.
        device_map: device of each part, or how to share it out; as in transformers.
        max_memory: memory of each device that may be used; None for all that is free.
    """

    dtype: torch.dtype | None
    device_map: DeviceMap
    max_memory: Mapping[int | str, int | str] | None = None


def build_model(
    skeleton: PreTrainedModel,
    weights: dict[str, StoredTensor],
    placement: Placement,
    *,
    where: str,
) -> PreTrainedModel:
    """The model with its weights, in evaluation mode, with eager attention.

    Args:
        skeleton: the model without weights, as `make_skeleton` gives it.
        weights: its stored weights by name.
        placement: dtype and devices.
        where: whose weights they are, for messages.

    Returns:
        The model.

    Raises:
        ValueError: weights are tied in name only, or not finite; or there is no memory for them.
    """  # noqa: DOC502 (raised by the parts)
    _check_tied(skeleton, weights, where)
    with foreign("transformers", "load the weights of", where), no_progress_bar():
        model = type(skeleton).from_pretrained(
            None,
            config=skeleton.config,
            state_dict=weights,  # pyright: ignore[reportArgumentType] (read lazily by [...])
            dtype=stored_dtype(weights) if placement.dtype is None else placement.dtype,
            attn_implementation="eager",
            device_map=placement.device_map,
            max_memory=placement.max_memory,
        )
    check_finite(model, where)
    return model.eval()


def twin(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its weights.

    TransformerLens replaces parts of the model that it is given; it gets the twin.

    Args:
        model: the model.

    Returns:
        New modules around the same tensors, in evaluation mode.
    """
    shared: dict[int, torch.Tensor] = {id(b): b for b in model.buffers()}
    for p in model.parameters():  # anew, so that freezing and gradients stay apart
        shared[id(p)] = nn.Parameter(p.detach(), requires_grad=p.requires_grad)
    copied = copy.deepcopy(model, shared).eval()
    _drop_recorders(copied)
    return copied


def _drop_recorders(model: nn.Module) -> None:
    """Take those hooks off, so that transformers puts them on anew when it wants them."""
    for module in model.modules():
        hooks = module._forward_hooks
        for key in [k for k, hook in hooks.items() if is_recorder(hook)]:
            del hooks[key]
        module.__dict__.pop("_output_capturing_hooks_installed", None)


def _check_tied(skeleton: PreTrainedModel, weights: Mapping[str, StoredTensor], where: str) -> None:
    """Refuse weights that are tied in name only."""
    untied = [
        k
        for k, v in tied_weights(skeleton).items()
        if k in weights and not _are_equal(weights[k].read(), weights[v].read())
    ]
    if untied:
        raise ValueError(
            f"load: {where} stores {untied} apart from the embedding, but its config has "
            "tie_word_embeddings true; expected equal weights or none. Set it to false."
        )


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether all entries are; NaN, which is told elsewhere, equals NaN."""
    return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())


def check_finite(model: nn.Module, where: str) -> None:
    """Refuse weights with NaN or infinity: a rank against NaN would be 1."""
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        if weight.device.type == "meta":  # on disk; nothing to look at
            continue
        # The sum is one pass without a mask; only if it overflowed are the entries looked at.
        if not weight.sum().isfinite() and not weight.isfinite().all():
            n_bad = int((~weight.isfinite()).sum())
            raise ValueError(
                f"load: {n_bad} of {weight.numel()} entries of {name} in {where} are NaN or "
                f"infinite as {weight.dtype}, expected numbers. Is the file damaged, or the dtype "
                "too narrow (float16)? Get the file again, or load it in float32 or bfloat16."
            )


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep the loader's progress bar off the terminal: most weights are only mapped."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
