"""Runs of the bridge that keep activations: without gradients, or in one graph to differentiate.

Gradients are those of the tensors that the model itself goes on with. A hook is handed that tensor
where TransformerLens hands it over as it is; where it reshapes it (q, k, v, z) the model goes on
with another one, so the hook gives back the reshaped one and the model goes on with that.

The stream within a block is read by a norm and goes past it. Its hook, ``hook_resid_mid``, is the
norm's input alone; what it and the way past it have together is the gradient of what the attention
adds.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.jacobian import DifferentiableModel

EMBEDDED = "blocks.0.hook_resid_pre"
Hook = tuple[str, Callable[..., Tensor | None]]


def run(model: DifferentiableModel, tokens: Int[Tensor, " pos"], hooks: Iterable[Hook]) -> None:
    """Run one sequence for what hooks take from it; the unembedding is done for one position."""
    device = torch.device(model.cfg.device)
    with ONE_AT_A_TIME, model.hooks(fwd_hooks=list(hooks)):
        model(tokens[None].to(device), return_type=None, logits_to_keep=1)


@torch.no_grad()
def record(
    model: DifferentiableModel,
    tokens: Int[Tensor, " pos"],
    names: Iterable[str],
    *,
    hooks: Iterable[Hook] = (),
) -> dict[str, Tensor]:
    """Activations of one run, without the batch axis.

    Args:
        model: the model.
        tokens: token ids of one sequence.
        names: hooks to keep.
        hooks: others, which act before they are kept.

    Returns:
        Activation by the name of its hook.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Hook:
        def hook(activation: Tensor, hook: Any) -> None:  # noqa: ARG001 (given by name)
            kept[name] = activation[0].detach()

        return name, hook

    run(model, tokens, [*hooks, *(keep(name) for name in names)])
    return kept


def record_graph(
    model: DifferentiableModel,
    tokens: Int[Tensor, " pos"],
    names: Collection[str],
    *,
    embedded: Float[Tensor, "pos d_model"] | None = None,
) -> dict[str, Tensor]:
    """Activations of one run in one graph, with the batch axis.

    Args:
        model: the model.
        tokens: token ids of one sequence.
        names: hooks to keep; the input of the first block is always kept, as the graph's leaf.
        embedded: what the first block gets instead of the tokens' embeddings.

    Returns:
        Activation by the name of its hook.
    """
    kept: dict[str, Tensor] = {}
    points = cast(Any, model).hook_dict
    reshaped = {name: points[name].hook_conversion is not None for name in names}

    def leaf(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (given by name)
        given = activation if embedded is None else embedded[None].to(activation)
        kept[EMBEDDED] = given.detach().clone().requires_grad_()
        return kept[EMBEDDED]

    def keep(name: str) -> Hook:
        def hook(activation: Tensor, hook: Any) -> Tensor | None:  # noqa: ARG001
            if reshaped[name]:
                kept[name] = activation.view_as(activation)
                return kept[name]
            kept[name] = activation
            return None

        return name, hook

    hooks = [(EMBEDDED, leaf), *(keep(name) for name in names if name != EMBEDDED)]
    with torch.enable_grad():
        run(model, tokens, hooks)
    return kept


def gradients(
    value: Tensor, of: Mapping[str, Tensor], *, retain_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients of a number, without the batch axis.

    Args:
        value: the number.
        of: activations of one graph.
        retain_graph: whether the graph is needed again.

    Returns:
        Gradient by the name of the activation.

    Raises:
        ValueError: the number does not depend on one of them.
    """
    found = torch.autograd.grad(
        value, list(of.values()), retain_graph=retain_graph, allow_unused=True
    )
    unused = [name for name, gradient in zip(of, found, strict=True) if gradient is None]
    if unused:
        raise ValueError(
            f"attribution: got a model that does not go on with what its hooks {unused[:3]} see, "
            "expected hooks on the way to the logits. Take other activations."
        )
    return {name: gradient[0] for name, gradient in zip(of, found, strict=True)}
