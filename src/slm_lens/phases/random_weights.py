"""The random-weights control: the same architecture, never trained."""

import copy
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class HuggingFaceBridge(Protocol):
    """A TransformerLens bridge around a Hugging Face model.

    Attributes:
        original_model: the Hugging Face model, with the bridge's parts inside.
        random_weights_seed: seed of random weights, for the provenance; None for trained ones.
    """

    original_model: Any
    random_weights_seed: int | None


Model = TypeVar("Model", bound=HuggingFaceBridge)


def random_weights(model: Model, *, seed: int) -> Model:
    """A copy of a model with the weights of a freshly initialised one.

    Every parameter, embeddings included, gets the value that its Hugging Face class gives it
    before training. What remains readable then is due to the architecture and the lens alone.

    Args:
        model: a bridge around a Hugging Face model, without folded weights; left as it is.
        seed: seed of the initialisation; the global generator is not touched.

    Returns:
        An independent copy, in evaluation mode, with the same vocabulary and configuration;
        its provenance has the seed.

    Raises:
        ValueError: the model's parameters are not those of its class (for example after
            `enable_compatibility_mode()`).

    Source:
        Random-weights control: Hewitt and Liang 2019, arXiv:1909.03368, call for controls of this
        kind; the initialisation is that of `transformers`.
    """
    wrapped = model.original_model
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(wrapped)(wrapped.config)
    values = {name: p.detach() for name, p in fresh.named_parameters()}
    shapes = {n: tuple(p.shape) for n, p in values.items()}
    views = _views(wrapped)
    own = {_plain(n): tuple(p.shape) for n, p in wrapped.named_parameters() if n not in views}
    if own != shapes:
        different = sorted(n for n in own | shapes if own.get(n) != shapes.get(n))
        raise ValueError(
            f"random_weights: parameters {different[:4]} differ from those of a new "
            f"{type(wrapped).__name__}, expected the same names and shapes. Load the model again "
            "without `enable_compatibility_mode()`."
        )
    twin = copy.deepcopy(model)
    with torch.no_grad():
        parameters = dict(twin.original_model.named_parameters())
        for name, (whole, size, stride, offset) in views.items():  # copied apart until now
            view = parameters[whole].detach().as_strided(size, stride, offset)
            parameters.pop(name).data = view
        for name, parameter in parameters.items():
            parameter.copy_(values[_plain(name)])
    twin.original_model.eval()
    twin.random_weights_seed = seed
    return twin


def _views(model: nn.Module) -> dict[str, tuple[str, torch.Size, tuple[int, ...], int]]:
    """Parameters that lie in another's memory, as a bridge makes them of fused weights.

    Returns:
        For each its whole's name, its own size and stride, and where in the whole it begins.
    """
    named = [(name, p, p.data_ptr()) for name, p in model.named_parameters()]
    views = {}
    for name, part, start in named:
        for whole_name, whole, whole_start in named:
            offset_bytes = start - whole_start
            if part.numel() < whole.numel() and 0 <= offset_bytes < whole.nbytes:
                offset = offset_bytes // whole.element_size()
                views[name] = (whole_name, part.size(), part.stride(), offset)
    return views


def _plain(name: str) -> str:
    """A parameter's name in the Hugging Face model, without the bridge's wrapping."""
    return name.replace("._original_component", "")
