"""The logit lens of single components: what attention, MLPs and heads write, and the stream itself.

Two kinds of thing are read, each in the one way that is well defined for it:

* **Residual states** (``resid_pre``, ``resid_mid``, ``resid_post``, ``accumulated``) are read as
  the logit lens does, each normed by itself: ``z = W_U . ln_final(h) + b_U``.
* **Summands** of the last residual stream (``attn_out``, ``mlp_out``, ``decomposed``, ``heads``)
  are read linearly, with the norm's scale fixed to that of the last residual ``h_L`` at their
  position: ``z(c) = W_U . gain * centre(c) / scale(h_L)``. These add up: the sum of ``z(c)`` over
  ``decomposed``, plus `ComponentStack.bias_logits`, is the model's own logits. So a head's ``z``
  says how it moves the *final* logits directly, not what could be read in its layer.

Models that transform their logits after the unembedding (Granite divides, Gemma 2 caps) do so to
the sum; ``z`` is what stands before that. What a cap takes away belongs to no single component.

The vectors and labels are those of transformer-lens' `accumulated_resid`, `decompose_resid` and
`stack_head_results`, which the tests hold equal. They are stacked here because those functions
walk every layer up to one and cannot select layers, and because `stack_head_results` gives wrong
vectors without a word where the attention's output is normed. `apply_ln_to_stack` is used, with the
gain that it leaves out (`slm_lens.lens.final_norm`).

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.lens._component_run import ComponentRun, head_outputs, run_components
from slm_lens.lens.final_norm import FinalNorm
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import Readout, Statistic, Wanted

ComponentKind = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "accumulated",
    "attn_out",
    "mlp_out",
    "decomposed",
    "heads",
]
SUMMANDS: frozenset[ComponentKind] = frozenset(["attn_out", "mlp_out", "decomposed", "heads"])


@dataclass(frozen=True, eq=False)
class ComponentStack:
    """Residual states or summands of the residual stream, with how they are read.

    Attributes:
        kind: what was asked for.
        states: the vectors as the model computed them, in its dtype.
        labels: name of each component, as TransformerLens names it: ``embed``, ``3_attn_out``,
            ``3_mid``, ``final_post``, ``L3H2``. A state after a block is ``3_post``.
        positions: index of each ``pos`` in the tokens, on the CPU.
        final_norm: the norm before the unembedding.
        W_U: the model's unembedding.
        b_U: its bias.
        lens: the model's logit lens.
    """

    kind: ComponentKind
    states: Float[Tensor, "component batch pos d_model"]
    labels: tuple[str, ...]
    positions: Int[Tensor, " pos"]
    final_norm: FinalNorm
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"]
    lens: LogitLens

    @property
    def additive(self) -> bool:
        """True for summands, which are read linearly; False for residual states."""
        return self.kind in SUMMANDS

    def normed(self) -> Float[Tensor, "component batch pos d_model"]:
        """What is multiplied by ``W_U``.

        Returns:
            Residual states: ``ln_final`` of each. Summands: their part of ``ln_final`` of the last
            residual. Float32.

        Raises:
            ValueError: a state is not finite.
        """
        if not self.states.isfinite().all():
            raise ValueError(
                "ComponentStack.normed: got states that are not finite, expected numbers. Did the "
                "model overflow? Load it in float32 or bfloat16."
            )
        if self.additive:
            return self.final_norm.of_summands(self.states)
        return self.final_norm.of_states(self.states)

    def readout(
        self,
        *statistics: Statistic,
        targets: Int[Tensor, "..."] | None = None,
        within: Sequence[str] | None = None,
        k: int = 10,
    ) -> Readout:
        """What the components say, without ever holding their logits.

        Residual states are read as by `LogitLens.readout`. Of summands it is `logits` that is read,
        without bias and transform: their highest tokens are those that a component raises most,
        and a softmax over them is what it would say alone.

        Args:
            *statistics: what is wanted, but ``"kl"``.
            targets: token ids, ``[n_targets]`` for all rows or ``[*rows, n_targets]``.
            within: subsets of the vocabulary; None for all.
            k: how many tokens ``"top_k"`` gives.

        Returns:
            What was wanted; its axes are component, batch and pos.

        Raises:
            ValueError: a shape does not fit, or a state is not finite.
        """  # noqa: DOC502 (raised by read_out and normed)
        unembedding = self.lens.unembedding
        if self.additive:
            unembedding = Unembedding(unembedding.weight)
        chosen = None if within is None else tuple(within)
        wanted = Wanted(frozenset(statistics), targets, chosen, k)
        return read_out(self.normed(), unembedding, self.lens.parts, {"position": wanted})[
            "position"
        ]

    @torch.no_grad()
    def logits(self) -> Float[Tensor, "component batch pos d_vocab"]:
        """``normed() @ W_U``, all at once: for a few positions and components.

        Returns:
            Logits before `bias_logits` and before any transform after the unembedding, float32,
            ``4 * component * batch * pos * d_vocab`` bytes.

        Raises:
            ValueError: a state is not finite.
        """  # noqa: DOC502 (raised by normed)
        return self.normed() @ self.W_U.float()

    @torch.no_grad()
    def bias_logits(self) -> Float[Tensor, " d_vocab"]:
        """Logits that belong to no component: ``b_U``, and for summands the norm's offset.

        Returns:
            What to add to each row of `logits` for residual states, and once to the sum of
            the rows for ``decomposed``. Float32; zero for most models without compatibility mode.
        """
        offset = self.final_norm.offset
        if offset is None or not self.additive:
            return self.b_U.float()
        return offset @ self.W_U.float() + self.b_U.float()


@torch.no_grad()
def component_stack(
    model: LensModel,
    tokens: Int[Tensor, "batch pos"],
    kind: ComponentKind,
    *,
    attention_mask: Bool[Tensor, "batch pos"] | None = None,
    positions: Sequence[int] | Int[Tensor, " chosen"] | None = None,
    layers: Sequence[int] | None = None,
) -> ComponentStack:
    """Components of a run, ready to be read through the unembedding.

    ``resid_pre``, ``resid_mid``, ``resid_post``: the stream before, within and after each block.
    ``accumulated``: all of them in order. ``attn_out``, ``mlp_out``: what each block's halves
    add. ``decomposed``: the embeddings and both halves of every block, which sum to the last
    residual. ``heads``: ``z . W_O`` of each head; the heads of a layer sum to its ``attn_out``
    without the bias of the attention's output.

    The stack has ``component * batch * pos * d_model`` numbers, and ``normed()`` as many in
    float32; for heads ``component`` is ``n_layers * n_heads``. At 32 layers, 32 heads and d_model
    4096 that is 16 MiB for each position in float32: select positions, layers, or both. Positions
    are selected while the model runs, so nothing is kept of the others. For the check, summands
    are run with ``2 * n_layers + 2`` further vectors for each position.

    In half precision the model rounds the stream after each addition, and the sum of the components
    equals it up to that rounding. Load in float32 where it has to be exact.

    Args:
        model: the model, in evaluation mode.
        tokens: token ids; sequences of different length are padded on the right.
        kind: which components.
        attention_mask: True where a token is real; None when all are.
        positions: indices into ``pos`` to keep; None for all.
        layers: blocks to keep, from 0; None for all, with ``embed``, ``pos_embed`` and
            ``final_post``, which belong to no block.

    Returns:
        The components. What stands at padded positions has no meaning.

    Raises:
        ValueError: training mode, an unknown kind, positions or layers that are not there, a mask
            that pads on the left, a model without such hooks, or one for which the reading does
            not give the model's own logits (checked at up to 4 of the positions).

    Source:
        nostalgebraist 2020; Elhage et al. 2021.
    """
    if kind not in get_args(ComponentKind):
        kinds = ", ".join(get_args(ComponentKind))
        raise ValueError(f"component_stack: got kind {kind!r}, expected one of {kinds}.")
    if model.training:
        raise ValueError(
            "component_stack: got a model in training mode, expected evaluation mode (dropout "
            "would change every number). Call `model.eval()`."
        )
    blocks = _chosen("layers", layers, model.cfg.n_layers)
    run = run_components(
        model,
        tokens,
        attention_mask,
        positions=_chosen("positions", positions, tokens.shape[-1]),
        hooks=[hook for _, hook in _rows(kind, blocks, whole=layers is None)],
        additive=kind in SUMMANDS,
    )
    labels, states = _stack(model, run, kind, blocks, whole=layers is None)
    return ComponentStack(
        kind=kind,
        states=states,
        labels=labels,
        positions=run.positions,
        final_norm=FinalNorm(model, run.cache["ln_final.hook_scale"]),
        W_U=model.W_U.detach(),
        b_U=model.b_U.detach(),
        lens=LogitLens(model),
    )


def _chosen(name: str, given: Sequence[int] | Tensor | None, size: int) -> list[int]:
    """Indices that were asked for, in their order; all of them for None."""
    if given is None:
        return list(range(size))
    indices = [int(i) for i in given]
    if not indices or not all(0 <= i < size for i in indices):
        raise ValueError(
            f"component_stack: got {name} {indices}, expected at least one index from 0 to "
            f"{size - 1}. Count from the start: the last one is {size - 1}."
        )
    return indices


def _rows(kind: ComponentKind, blocks: list[int], *, whole: bool) -> list[tuple[str, str]]:
    """Label and hook of each component, in TransformerLens' order; of heads that of a layer's."""
    halves = {
        "accumulated": ("resid_pre", "resid_mid"),
        "decomposed": ("attn_out", "mlp_out"),
        "heads": ("z",),
    }.get(kind, (kind,))
    rows = []
    for block in blocks:
        for half in halves:
            hook = "attn.hook_z" if half == "z" else f"hook_{half}"
            rows.append((f"{block}_{half.removeprefix('resid_')}", f"blocks.{block}.{hook}"))
    if whole and kind == "accumulated":
        rows.append(("final_post", f"blocks.{blocks[-1]}.hook_resid_post"))
    if whole and kind == "decomposed":
        rows = [("embed", "hook_embed"), ("pos_embed", "hook_pos_embed"), *rows]
    return rows


def _stack(
    model: LensModel, run: ComponentRun, kind: ComponentKind, blocks: list[int], *, whole: bool
) -> tuple[tuple[str, ...], Tensor]:
    """Labels and vectors of what was cached."""
    if kind == "heads":
        n_heads = model.cfg.n_heads
        labels = tuple(f"L{block}H{head}" for block in blocks for head in range(n_heads))
        return labels, torch.cat([head_outputs(model, run, block) for block in blocks])
    # Rotary models have no `hook_pos_embed` to cache; every other hook was required.
    rows = [row for row in _rows(kind, blocks, whole=whole) if row[1] in run.cache]
    return tuple(label for label, _ in rows), torch.stack([run.cache[hook] for _, hook in rows])
