"""The Jacobian lens: each layer's states through their mean effect on the last ones.

``z[l] = W_U . ln_final(J[l] h[l])`` with one matrix a layer,

``J[l] = mean over sequences of 1/|V| sum_(t in V) sum_(t' in V, t' >= t) d h[L, t'] / d h[l, t]``

where ``V`` holds the positions of the wanted modality, without the first ones and the last. Nothing
is trained. ``J[l] h`` is ``h + (J[l] - 1) h``, so the result is a `TunedLens` with ``A = J - 1``
and no bias: it is read, kept, refused and compared as one.

transformer-lens has this lens for strings, at all positions (``tools.analysis.JacobianLens``); its
estimator is the oracle of the tests, and `to_transformer_lens` gives its object, with everything
that it can do. Ours reads token ids, so that speech can be in them, keeps modalities apart, and has
a matrix for the embeddings.

Source: Gurnee et al. 2026, "Verbalizable Representations Form a Global Workspace in Language
Models"; the modalities are ours.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens._sequence_reader import refuse_one
from slm_lens.lens.fit_settings import FIT_POSITIONS, FitPositions
from slm_lens.lens.lens_facts import TunedLensFacts
from slm_lens.lens.model import LensModel
from slm_lens.lens.states import attention_of, residual_stack
from slm_lens.lens.tuned_lens import TunedLens, unembedding_hash
from slm_lens.sequence.sequence import SpeechTextSequence

if TYPE_CHECKING:
    from transformer_lens.tools.analysis import JacobianLens


@runtime_checkable
class DifferentiableModel(LensModel, Protocol):
    """A bridge that can be run with hooks and gradients."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """One forward pass."""
        ...

    def hooks(self, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        """Hooks while the context lasts."""
        ...


def jacobian_lens(
    model: DifferentiableModel,
    sequences: Iterable[SpeechTextSequence],
    *,
    positions: FitPositions = "all",
    skip_first: int = 16,
    dim_batch: int = 16,
) -> TunedLens:
    """Make a Jacobian lens.

    Args:
        model: the model, in evaluation mode and float32 for exact derivatives; it is not changed.
        sequences: what to average over, read once; about 100 of 128 tokens are enough. Each that
            has a position of the modality counts the same.
        positions: modality of the positions from which and to which effects count.
        skip_first: leading positions that count nowhere: attention sinks.
        dim_batch: output dimensions of one backward pass; the sequence is copied as often.

    Returns:
        The lens; its facts have the sequences that counted as ``n_steps``.

    Raises:
        ValueError: an option out of range, no position that counts in any sequence, or a model
            that `residual_stack` refuses.
        TypeError: `sequences` is a single one.

    Source:
        Gurnee et al. 2026; estimator and defaults as transformer-lens.
    """  # noqa: DOC502 (raised by refuse_one)
    if positions not in FIT_POSITIONS or skip_first < 0 or dim_batch < 1:
        raise ValueError(
            f"jacobian_lens: got positions={positions!r}, skip_first={skip_first}, dim_batch="
            f"{dim_batch}; expected one of {FIT_POSITIONS}, at least 0 and at least 1."
        )
    refuse_one(sequences, "jacobian_lens")
    lens = TunedLens(model)
    total = torch.zeros_like(lens.weight)
    n_sequences = n_positions = 0
    for sequence in sequences:
        valid = _valid(sequence, positions, skip_first)
        if not len(valid):
            continue
        if not n_sequences:
            residual_stack(model, sequence.tokens[None])  # refuses what a lens cannot read
        total += _mean_jacobians(model, sequence.tokens, valid, dim_batch)
        n_sequences, n_positions = n_sequences + 1, n_positions + len(valid)
    if not n_sequences:
        raise ValueError(
            f"jacobian_lens: got no {positions} position after the first {skip_first} and before "
            "the last of any sequence, expected some. Give longer sequences of that modality, or "
            "a lower skip_first."
        )
    identity = torch.eye(model.cfg.d_model, device=total.device)
    facts = TunedLensFacts(
        positions,
        n_sequences,
        n_positions,
        unembedding_hash(model),
        source="jacobian",
        forward="hooked",
        attention=attention_of(model, "hooked"),
    )
    return TunedLens(model, weight=total / n_sequences - identity, facts=facts)


def to_transformer_lens(lens: TunedLens) -> "JacobianLens":
    """A Jacobian lens as the object of transformer-lens: to steer, swap, decompose with it.

    Args:
        lens: what `jacobian_lens` gave.

    Returns:
        The lens without the embeddings' matrix; its layer ``l`` is the output of block ``l``,
        which is layer ``l + 1`` here.

    Raises:
        ValueError: the lens was fitted in another way.
    """
    from transformer_lens.tools.analysis import JacobianLens

    if lens.facts.source != "jacobian":
        raise ValueError(
            f"to_transformer_lens: got a {lens.name}, expected what jacobian_lens gave: an affine "
            "lens has no Jacobian."
        )
    d_model = lens.weight.shape[-1]
    matrices = lens.weight.detach().cpu() + torch.eye(d_model)
    return JacobianLens(
        {layer - 1: matrices[layer] for layer in range(1, len(matrices))},
        n_prompts=lens.facts.n_steps,
        d_model=d_model,
        metadata={"positions": lens.facts.positions},
    )


def _valid(
    sequence: SpeechTextSequence, positions: FitPositions, skip_first: int
) -> Int[Tensor, " n"]:
    wanted = [positions in ("all", kind) for kind in sequence.kinds]
    numbers = range(skip_first, len(sequence) - 1)
    return torch.tensor([i for i in numbers if wanted[i]], dtype=torch.int64)


def _mean_jacobians(
    model: DifferentiableModel,
    tokens: Int[Tensor, " pos"],
    valid: Int[Tensor, " n"],
    dim_batch: int,
) -> Float[Tensor, "layer d_model d_model"]:
    """Matrices of one sequence.

    A cotangent of 1 at one dimension of *all* valid targets gives, at each source, the sum over
    targets; those before the source add nothing, since attention looks back only.
    """
    *sources, target = _states_with_gradients(model, tokens.expand(dim_batch, -1))
    valid = valid.to(target.device)
    d_model = target.shape[-1]
    rows = torch.zeros(len(sources), d_model, d_model, device=target.device)
    for first in range(0, d_model, dim_batch):
        dims = torch.arange(first, min(first + dim_batch, d_model), device=target.device)
        cotangent = torch.zeros_like(target)
        cotangent[(dims - first)[:, None], valid[None], dims[:, None]] = 1.0
        gradients = torch.autograd.grad(target, sources, cotangent, retain_graph=True)
        for layer, gradient in enumerate(gradients):
            rows[layer, dims] = gradient[: len(dims), valid].float().mean(1)
    return rows


def _states_with_gradients(
    model: DifferentiableModel, tokens: Int[Tensor, "batch pos"]
) -> list[Float[Tensor, "batch pos d_model"]]:
    """The residual stream before the first block and after every block, in one graph."""
    last = model.cfg.n_layers - 1
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{i}.hook_resid_post" for i in range(last + 1))]
    states: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(state: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (given by name)
            states[name] = state if state.requires_grad else state.requires_grad_()
            return state

        return hook

    with torch.enable_grad(), model.hooks(fwd_hooks=[(name, keep(name)) for name in names]):
        model(tokens.to(torch.device(model.cfg.device)), return_type=None)
    return [states[name] for name in names]
