"""One run for `component_stack`: what it caches, and the proof that it adds up to the logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.lens._runs import ONE_AT_A_TIME, real_positions
from slm_lens.lens.final_norm import FinalNorm
from slm_lens.lens.model import LensModel

# Largest difference between the reading and the model's logits, over the largest deviation of those
# from their mean. Measured on random Qwen2 models of 2, 8 and 32 layers: float32 at most 6e-7,
# float16 2e-3, bfloat16 1.6e-2, where the stream is rounded after each of its additions, more in a
# deeper model; a head's difference from its layer's output is smaller. A norm without its gain
# gives 0.29 or more, one component of 65 left out 0.006 or more.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_N_CHECKED_POSITIONS = 4
_N_CHECKED_ROWS = 4096  # of the unembedding, so that a wide one is not copied to float32
_OPTIONAL = "hook_pos_embed"


@dataclass(frozen=True, eq=False)
class ComponentRun:
    """Activations at the positions that were asked for, some of which are checked.

    Attributes:
        cache: activation by the name of its hook.
        positions: index of each ``pos`` in the tokens.
        columns: the checked positions, as indices into ``pos``.
        real: which of the checked positions are no padding.
    """

    cache: Mapping[str, Tensor]
    positions: Int[Tensor, " pos"]
    columns: Int[Tensor, " checked"]
    real: Bool[Tensor, "batch checked"]

    def checked(self, hook: str) -> Float[Tensor, "n_real ..."]:
        """A hook's activation at the checked positions."""
        return self.cache[hook][:, self.columns][self.real]


def run_components(
    model: LensModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Bool[Tensor, "batch pos"] | None,
    *,
    positions: list[int],
    hooks: list[str],
    additive: bool,
) -> ComponentRun:
    """Run the model, keep some hooks at some positions, and check how they are read.

    Raises:
        ValueError: as `component_stack`.
    """
    mask = real_positions(tokens, attention_mask, "component_stack")
    columns = mask[:, positions].any(0).nonzero()[:, 0].cpu()
    if not len(columns):
        raise ValueError(
            f"component_stack: got positions {positions}, expected one that is no padding in some "
            "row. Look at the attention mask."
        )
    columns = columns[torch.linspace(0, len(columns) - 1, _N_CHECKED_POSITIONS).long().unique()]
    summands = _summands(model.cfg.n_layers) if additive else []
    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    wanted = {*hooks, *summands, last, "ln_final.hook_scale"}
    device, kept_on = torch.device(model.cfg.device), model.W_U.device
    with ONE_AT_A_TIME:
        logits, cache = model.run_with_cache(
            tokens.to(device),
            # A list would cache each hook under its other names as well.
            names_filter=lambda name: name in wanted,
            pos_slice=positions,
            attention_mask=mask.long().to(device),
            output_attentions=False,
            logits_to_keep=torch.tensor(positions)[columns].to(device),
            device=kept_on,
        )
    missing = sorted(wanted - set(cache.keys()) - {_OPTIONAL})
    if missing:
        raise ValueError(
            f"component_stack: got a model without {', '.join(missing)}, expected these hooks. "
            "Blocks whose attention and MLP read the same stream have no `resid_mid`; take another "
            "kind."
        )
    chosen = torch.tensor(positions)
    real = mask.cpu()[:, chosen[columns]]
    run = ComponentRun(dict(cache.items()), chosen, columns.to(kept_on), real.to(kept_on))
    _require_logits(model, run, [h for h in summands if h in run.cache], last, logits)
    return run


def _summands(n_layers: int) -> list[str]:
    """Hooks whose activations make up the last residual."""
    halves = [
        f"blocks.{i}.hook_{half}" for i in range(n_layers) for half in ("attn_out", "mlp_out")
    ]
    return ["hook_embed", _OPTIONAL, *halves]


def _require_logits(
    model: LensModel, run: ComponentRun, summands: list[str], last: str, logits: Tensor
) -> None:
    """Refuse a model whose logits are not those of the reading."""
    norm = FinalNorm(model, run.checked("ln_final.hook_scale")[None])
    if summands:
        whole = torch.stack([run.checked(hook).float() for hook in summands]).sum(0)
        normed = norm.of_summands(whole[None, None])[0, 0]
        normed = normed if norm.offset is None else normed + norm.offset
    else:
        normed = norm.of_states(run.checked(last)[None, None])[0, 0]
    rows = torch.linspace(0, model.cfg.d_vocab - 1, _N_CHECKED_ROWS).long().unique()
    W_U, b_U = model.W_U[:, rows].float(), model.b_U[rows].float()
    ours = model.adapter.apply_output_logits_transform(normed @ W_U + b_U)
    theirs = logits.to(run.real.device)[run.real][:, rows].float()
    spread = (theirs - theirs.mean(-1, keepdim=True)).abs().max().item()
    worst = (ours - theirs).abs().max().item()
    tolerance = _TOLERANCE[logits.dtype]
    if not worst <= tolerance * spread:
        raise ValueError(
            f"component_stack: the {'sum of all components' if summands else 'last state'} reads "
            f"as logits that differ from the model's own by up to {worst:.3g}, expected at most "
            f"{tolerance:g} of their spread {spread:.3g}. Does the model, or a hook on it, change "
            "the residual stream elsewhere than in attention and MLP?"
        )


def head_outputs(
    model: LensModel, run: ComponentRun, layer: int
) -> Float[Tensor, "head batch pos d_model"]:
    """What each head of a layer writes: ``z . W_O``.

    transformer-lens' `stack_head_results` is the same product, of all layers at once. It does not
    ask whether the heads are what the stream gets: a norm behind the attention (Gemma 2, OLMo 2)
    is not in them, and their sum is another vector.

    Raises:
        ValueError: the heads do not sum to the layer's ``attn_out``.
    """
    block = cast(Any, model.get_submodule(f"blocks.{layer}"))
    attention = block.attn
    # Granite multiplies what a block adds.
    scale = getattr(block, "residual_contribution_scale", 1.0)
    W_O = attention.W_O.detach()
    z = run.cache[f"blocks.{layer}.attn.hook_z"].to(W_O.device)
    heads = (torch.einsum("bphd,hdm->hbpm", z, W_O) * scale).to(run.real.device)
    added = run.checked(f"blocks.{layer}.hook_attn_out").float()
    ours = heads[:, :, run.columns][:, run.real].float().sum(0)
    if attention.b_O is not None:
        ours = ours + attention.b_O.detach().float().to(ours.device) * scale
    worst, size = (ours - added).abs().max().item(), added.abs().max().item()
    tolerance = _TOLERANCE[heads.dtype]
    if not worst <= tolerance * size:
        raise ValueError(
            f"component_stack: the heads of layer {layer} differ from what its attention adds by "
            f"up to {worst:.3g}, expected at most {tolerance:g} of its size {size:.3g}. Does the "
            "model norm the attention's output (Gemma 2, OLMo 2)? Then take kind='attn_out'."
        )
    return heads
