"""The residual stream of every layer, from the forward pass that shows it at the least cost.

Two forward passes give it. The *hooked* one is the bridge's: its hooks act, and its attention is
eager. The *fast* one is the plain model's, with the same weights and a fused attention kernel, and
without the unembedding but for a check. In float32 they differ by rounding, in half precision by
enough to move ranks, so every result says which one ran.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.lens._runs import ONE_AT_A_TIME, real_positions
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel, SpeechTextModel
from slm_lens.model.plain_forward import PlainForward
from slm_lens.model.provenance import Provenance

Forward = Literal["auto", "fast", "hooked"]
Autocast = Literal["bfloat16", "float16"]
ForwardUsed = Literal["fast", "hooked"]

_N_CHECKED_POSITIONS = 4
_VERIFIED: WeakKeyDictionary[LensModel, object] = WeakKeyDictionary()
"""Models whose fast forward was checked, and the weights behind the last block at that time."""


def residual_stack(
    model: LensModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Bool[Tensor, "batch pos"] | None = None,
    *,
    forward: Forward = "auto",
) -> Float[Tensor, "layer batch pos d_model"]:
    """The residual stream before the first block and after every block.

    Args:
        model: the model, in evaluation mode.
        tokens: token ids; sequences of different length are padded on the right.
        attention_mask: True where a token is real; None when all are.
        forward: ``"fast"`` runs the plain Hugging Face model, with SDPA attention where its class
            has that; ``"hooked"`` runs the bridge, whose hooks act and whose attention is eager;
            ``"auto"`` is fast unless the plain model would not show what the bridge computes: with
            a hook on it, in compatibility mode, with a live adapter, or on several devices.

    Returns:
        Layer 0 is ``blocks.0.hook_resid_pre`` (the embeddings), layer ``l`` is
        ``blocks.{l-1}.hook_resid_post``; ``n_layers + 1`` entries. What stands at padded
        positions has no meaning.

    Raises:
        ValueError: training mode, an empty input, a mask that pads on the left, an unknown
            `forward`, or "fast" where it cannot be; or a last layer that does not read as the
            model's own logits (checked at up to 4 positions, by the fast forward once for the
            same weights).

    Source:
        Layer numbers as in nostalgebraist 2020.
    """  # noqa: DOC502 (raised by LogitLens, choose_forward and stack_and_check)
    used = choose_forward(model, forward, "residual_stack")
    return stack_and_check(model, LogitLens(model), tokens, attention_mask, forward=used)


def choose_forward(model: LensModel, forward: Forward, caller: str) -> ForwardUsed:
    """Which forward pass gives the states.

    Args:
        model: the model as it is now.
        forward: as in `residual_stack`.
        caller: the public function, to begin messages with.

    Returns:
        The one to run.

    Raises:
        ValueError: an unknown choice, or "fast" for a model that cannot run so.
    """
    if forward not in ("auto", "fast", "hooked"):
        raise ValueError(f"{caller}: got forward={forward!r}, expected 'auto', 'fast' or 'hooked'.")
    if forward == "hooked":
        return "hooked"
    reason = _why_not_fast(model)
    if forward == "fast" and reason is not None:
        raise ValueError(
            f"{caller}: got forward='fast' for a model that only its bridge can run, expected one "
            f"whose plain Hugging Face model gives the same states: {reason}"
        )
    return "fast" if reason is None else "hooked"


def provenance_of(
    model: SpeechTextModel, used: ForwardUsed, autocast: Autocast | None = None
) -> Provenance:
    """What numbers depend on that come from this forward pass.

    Args:
        model: the model.
        used: the forward pass that runs.
        autocast: dtype that blocks multiply in; None for the weights' own.

    Returns:
        The model's provenance with the attention kernel that runs.
    """
    attention = attention_of(model, used)
    return replace(model.provenance, attention=attention, forward=used, autocast=autocast)


def attention_of(model: LensModel, used: ForwardUsed) -> str:
    """Attention kernel of a forward pass.

    Args:
        model: the model.
        used: the forward pass that runs.

    Returns:
        For example "sdpa".
    """
    if used == "fast":
        return _plain_forward(model).attention
    return str(model.original_model.config._attn_implementation)


@torch.no_grad()
def stack_and_check(
    model: LensModel,
    lens: LogitLens,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Bool[Tensor, "batch pos"] | None,
    *,
    forward: ForwardUsed,
    autocast: Autocast | None = None,
    last_only: bool = False,
) -> Float[Tensor, "layer batch pos d_model"]:
    """`residual_stack` with a lens that is already there, and a forward pass that can run.

    Args:
        model: the model, in evaluation mode.
        lens: the model's lens.
        tokens: token ids, padded on the right.
        attention_mask: True where a token is real; None when all are.
        forward: as `choose_forward` gives it.
        autocast: dtype that blocks multiply in (`torch.autocast`); None for the weights' own. The
            residual stream keeps the weights' dtype, and is read in float32 all the same.
        last_only: keep the last layer alone, as a stack of one: all that the model's own
            prediction is read from, at a memory that does not grow with the layers.

    Returns:
        The residual stack.

    Raises:
        ValueError: as `residual_stack`.
    """  # noqa: DOC502 (raised by real_positions and the lens)
    mask = real_positions(tokens, attention_mask, "residual_stack")
    n_real = int(mask.sum(1).min())  # check only positions that are real in every row
    checked = torch.linspace(0, n_real - 1, _N_CHECKED_POSITIONS).long().unique()
    weights = _behind_the_last_block(model)
    if forward == "fast" and _VERIFIED.get(model) == weights:
        checked = checked[:0]  # nothing acts on a plain model but its weights
    device = torch.device(model.cfg.device)
    given = tokens.to(device), mask.long().to(device), checked.to(device)
    half = None if autocast is None else getattr(torch, autocast)
    with ONE_AT_A_TIME, torch.autocast(device.type, half, enabled=half is not None):
        run = _plain_forward(model).run if forward == "fast" else partial(_hooked, model)
        stack, logits = run(*given, last_only=last_only)
    if len(checked):
        lens.require_identity(stack[-1][:, checked.to(device)], logits)
    if forward == "fast":
        _VERIFIED[model] = weights
    return stack


def _behind_the_last_block(model: LensModel) -> object:
    """What tells whether the final norm and the unembedding are those that were checked."""
    parts = (model.get_submodule(name) for name in ("ln_final", "unembed"))
    tensors = [model.W_U, *(t for part in parts for t in part.parameters())]
    return [(t.data_ptr(), t._version, t.dtype) for t in tensors]


def _hooked(
    model: LensModel,
    tokens: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"],
    checked: Int[Tensor, " n_checked"],
    *,
    last_only: bool,
) -> tuple[Float[Tensor, "layer batch pos d_model"], Float[Tensor, "batch n_checked d_vocab"]]:
    """The bridge's states, and the model's own logits at the checked positions."""
    posts = [f"blocks.{i}.hook_resid_post" for i in range(model.cfg.n_layers)]
    names = posts[-1:] if last_only else ["blocks.0.hook_resid_pre", *posts]
    logits, cache = model.run_with_cache(
        tokens,
        names_filter=names,
        attention_mask=mask,
        output_attentions=False,
        logits_to_keep=checked,
    )
    return torch.stack([cache[name] for name in names]), logits


def _why_not_fast(model: LensModel) -> str | None:
    """Why the plain model cannot stand for this one, and what to do; None if it can."""
    plain = getattr(model, "plain_forward", None)
    if not isinstance(plain, PlainForward):
        return "a bridge that slm_lens.load did not make keeps no plain model. Use slm_lens.load."
    return plain.why_not(model)


def _plain_forward(model: LensModel) -> PlainForward:
    return cast(Any, model).plain_forward
