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
from torch import nn
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

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
    config: PreTrainedConfig,
    weights: dict[str, StoredTensor],
    placement: Placement,
    *,
    where: str,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """The model with its weights, in evaluation mode, with eager attention.

    Args:
        config: config of the language model.
        weights: its stored weights by name.
        placement: dtype and devices.
        where: whose weights they are, for messages.
        trust_remote_code: whether classes that come with the checkpoint may be run.

    Returns:
        The model.

    Raises:
        ValueError: weights are missing, left over, of another shape, not finite, or the class is
            not one that transformer-lens wraps.
    """  # noqa: DOC502 (raised by the parts)
    _check_sizes(config, weights, where)
    with _foreign(where, "build the model from the config of"), torch.device("meta"):
        skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", trust_remote_code=trust_remote_code
        )
    config.architectures = [type(skeleton).__name__]
    refuse_unsupported(config, type(skeleton).__name__, where)
    _check_weights(where, skeleton, config, weights)
    with _foreign(where, "load the weights of"), no_progress_bar():
        model = type(skeleton).from_pretrained(
            None,
            config=config,
            state_dict=weights,  # pyright: ignore[reportArgumentType] (read lazily by [...])
            dtype=stored_dtype(weights) if placement.dtype is None else placement.dtype,
            attn_implementation="eager",
            device_map=placement.device_map,
            max_memory=placement.max_memory,
        )
    _check_finite(model, where)
    return model.eval()


def twin(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its weights.

    TransformerLens replaces parts of the model that it is given; it gets the twin.

    Args:
        model: the model.

    Returns:
        New modules around the same tensors, in evaluation mode.
    """
    shared = {id(t): t for t in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared).eval()


def refuse_unsupported(config: PreTrainedConfig, architecture: str, where: str) -> None:
    """Refuse, by name, what transformer-lens 4.3 does not wrap or wraps wrongly.

    Args:
        config: config of the language model.
        architecture: its class.
        where: whose config it is, for messages.

    Raises:
        ValueError: the class has no adapter, or is a post-norm OPT.
    """
    if architecture not in SUPPORTED_ARCHITECTURES:
        raise ValueError(
            f"load: {where} is a {architecture}, expected a class that transformer-lens wraps. "
            "Write an adapter and register it with ArchitectureAdapterFactory.register_adapter, "
            "or convert the weights to a class that it has."
        )
    if config.model_type == "opt" and not getattr(config, "do_layer_norm_before", True):
        raise ValueError(
            f"load: {where} is an OPT with its norms after the blocks (OPT-350M, so TWIST-350M), "
            "expected do_layer_norm_before=True. transformer-lens 4.3 cannot cache such a model "
            "and it has no final norm for a lens. Use TWIST-1.3B or TWIST-7B."
        )


def _check_sizes(config: PreTrainedConfig, weights: Mapping[str, StoredTensor], where: str) -> None:
    """Refuse more layers than there are weights, before that many are built."""
    n_layers = getattr(config, "num_hidden_layers", 0)
    if not isinstance(n_layers, int) or not 0 < n_layers <= len(weights):
        raise ValueError(
            f"load: the config of {where} has num_hidden_layers={n_layers!r} for {len(weights)} "
            "weights, expected at least one weight for each layer. Do config.json and the weights "
            "belong together?"
        )


def _check_weights(
    where: str,
    skeleton: PreTrainedModel,
    config: PreTrainedConfig,
    weights: dict[str, StoredTensor],
) -> None:
    """Refuse weights that are missing, left over, of another shape, or tied in name only."""
    expected = {name: tuple(w.shape) for name, w in skeleton.state_dict().items()}
    tied = dict(skeleton.all_tied_weights_keys) if config.tie_word_embeddings else {}
    missing = sorted(set(expected) - set(weights) - set(tied))
    unexpected = sorted(set(weights) - set(expected))
    shapes = [
        f"{name} {weights[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"load: the weights in {where} are not those of {type(skeleton).__name__}: missing "
            f"{missing[:8]}, unexpected {unexpected[:8]}, of another shape {shapes[:8]}; expected "
            "none of each. Do config.json and the weights belong together?"
        )
    untied = [
        k
        for k, v in tied.items()
        if k in weights and not torch.equal(weights[k].read(), weights[v].read())
    ]
    if untied:
        raise ValueError(
            f"load: {where} stores {untied} apart from the embedding, but its config has "
            "tie_word_embeddings true; expected equal weights or none. Set it to false."
        )


def _check_finite(model: nn.Module, where: str) -> None:
    """Refuse weights with NaN or infinity: a rank against NaN would be 1."""
    for name, weight in model.named_parameters():
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
def _foreign(where: str, doing: str) -> Iterator[None]:
    """Say whose checkpoint it was when transformers fails on it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"load: transformers cannot {doing} {where} ({type(error).__name__}: {error}), "
            "expected a config and weights that belong together. Was config.json edited?"
        ) from error


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
