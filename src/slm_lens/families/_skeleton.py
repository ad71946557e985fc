"""The model of a config without its weights, compared with what is stored.

Everything that a config can ask for is known here, before memory is taken for it.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from slm_lens.families._foreign import foreign
from slm_lens.families._weights import StoredTensor

# Entries of one table that a model makes by itself, such as the causal masks of GPT-2's kin: more
# than for 11,000 tokens of context.
MAX_BUFFER = 2**27


def make_skeleton(
    config: PreTrainedConfig,
    weights: Mapping[str, StoredTensor],
    *,
    where: str,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """The model on PyTorch's "meta" device, where tensors have shapes and no content.

    Args:
        config: config of the language model.
        weights: its stored weights by name.
        where: whose config it is, for messages.
        trust_remote_code: whether classes that come with the checkpoint may be run.

    Returns:
        The model, every weight of which is stored in its shape.

    Raises:
        ValueError: weights are missing, left over, or of another shape; the class is not one that
            transformer-lens wraps; or the config asks for more than the weights need.
    """  # noqa: DOC502 (raised by the parts)
    _check_layers(config, weights, where)
    with (
        foreign("transformers", "build the model from the config of", where),
        torch.device("meta"),
        no_init_weights(),
    ):
        skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", trust_remote_code=trust_remote_code
        )
    skeleton.config.architectures = [type(skeleton).__name__]
    refuse_unsupported(skeleton.config, type(skeleton).__name__, where)
    _check_buffers(skeleton, where)
    _check_rows(skeleton, weights, where)
    _check_weights(skeleton, weights, where)
    return skeleton


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


def tied_weights(skeleton: PreTrainedModel) -> dict[str, str]:
    """Names of weights that are others under a second name, and those others."""
    tied = skeleton.config.tie_word_embeddings
    return dict(skeleton.all_tied_weights_keys) if tied else {}


def _check_layers(
    config: PreTrainedConfig, weights: Mapping[str, StoredTensor], where: str
) -> None:
    """Refuse more layers than there are weights, before that many are built."""
    n_layers = getattr(config, "num_hidden_layers", 0)
    if not isinstance(n_layers, int) or not 0 < n_layers <= len(weights):
        raise ValueError(
            f"load: the config of {where} has num_hidden_layers={n_layers!r} for {len(weights)} "
            "weights, expected at least one weight for each layer. Do config.json and the weights "
            "belong together?"
        )


def _check_buffers(skeleton: PreTrainedModel, where: str) -> None:
    """Refuse tables that would fill the memory: nothing that is stored says their size."""
    for name, table in skeleton.named_buffers():
        if table.numel() > MAX_BUFFER:
            raise ValueError(
                f"load: the config of {where} asks for {table.numel():,} entries of {name}, "
                f"expected at most {MAX_BUFFER:,}. Was config.json edited?"
            )


def _check_rows(skeleton: PreTrainedModel, weights: Mapping[str, StoredTensor], where: str) -> None:
    """Refuse an embedding with other rows than the config says, in words of its own."""
    embedding = cast(nn.Embedding, skeleton.get_input_embeddings()).weight
    stored = [
        weights[name].shape[:1]
        for name, weight in skeleton.named_parameters()
        if weight is embedding and name in weights
    ]
    if stored and stored[0] != embedding.shape[:1]:
        raise ValueError(
            f"load: the embedding in {where} has {stored[0][0] if stored[0] else 0} rows and its "
            f"config vocab_size={embedding.shape[0]}, expected the same. Was the embedding resized "
            "and the config not, or are they of two checkpoints?"
        )


def _check_weights(
    skeleton: PreTrainedModel, weights: Mapping[str, StoredTensor], where: str
) -> None:
    """Refuse weights that are missing, left over, of another shape, or no fractions."""
    expected = skeleton.state_dict()
    missing = sorted(set(expected) - set(weights) - set(tied_weights(skeleton)))
    unexpected = sorted(set(weights) - set(expected))
    shared = {name: weights[name] for name in expected if name in weights}
    shapes = [
        f"{name} {stored.shape} instead of {tuple(expected[name].shape)}"
        for name, stored in shared.items()
        if stored.shape != tuple(expected[name].shape)
    ]
    whole = [
        f"{name} {stored.dtype}"
        for name, stored in shared.items()
        if expected[name].is_floating_point() and not stored.dtype.is_floating_point
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"load: the weights in {where} are not those of {type(skeleton).__name__}: missing "
            f"{missing[:8]}, unexpected {unexpected[:8]}, of another shape {shapes[:8]}; expected "
            "none of each. Do config.json and the weights belong together?"
        )
    if whole:
        raise ValueError(
            f"load: weights in {where} are stored as whole numbers ({whole[:8]}), expected full or "
            "half precision. Are they quantised? Take the checkpoint that they were made from."
        )
