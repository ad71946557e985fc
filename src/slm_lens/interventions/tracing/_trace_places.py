"""What is restored together in causal tracing: layers and positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.interventions.site import is_stream, sites
from slm_lens.interventions.tracing.traced_subjects import TRACE_ROLES, role_of
from slm_lens.lens.model import LensModel

TraceKind = Literal["resid_pre", "resid_mid", "resid_post", "mlp_out", "attn_out"]
TRACE_KINDS: tuple[TraceKind, ...] = get_args(TraceKind)
Severed = Literal["mlp_out", "attn_out"]
SEVERED: tuple[Severed, ...] = get_args(Severed)
TraceAt = Literal["roles", "positions", "subject", "all"]
TRACE_AT: tuple[TraceAt, ...] = get_args(TraceAt)

_WINDOW_SHARE = 5
"""ROME: 10 of 48 layers."""


@dataclass(frozen=True)
class Windows:
    """Layers that are restored together.

    Attributes:
        of_layer: they, by the layer in their middle.
        size: how many there are, where the model does not end before.
    """

    of_layer: Mapping[int, range]
    size: int


def windows_of(
    model: LensModel,
    kind: str,
    layers: Sequence[int] | None,
    window: int | None,
    severed: str | None,
) -> Windows:
    """Which layers are restored together, for each layer of the table.

    Args:
        model: the model.
        kind: what is restored.
        layers: layers of the table; None for all.
        window: how many are restored together; None for a fifth, or 1 of the stream.
        severed: what is cut off behind it.

    Returns:
        The windows, within the model.

    Raises:
        ValueError: an unknown kind, a layer that does not exist, or a window that does not fit.
    """
    if kind not in TRACE_KINDS or severed not in (None, *SEVERED):
        raise ValueError(
            f"causal_trace: got kind={kind!r} and severed={severed!r}, expected one of "
            f"{TRACE_KINDS} and None or one of {SEVERED}."
        )
    n_layers = int(model.cfg.n_layers)
    if window is None:
        window = 1 if is_stream(kind) else max(1, round(n_layers / _WINDOW_SHARE))
    if not 1 <= window <= n_layers or (is_stream(kind) and window > 1):
        raise ValueError(
            f"causal_trace: got window={window} of {kind!r} in a model of {n_layers} layers, "
            f"expected 1 to {n_layers}, and 1 for the residual stream, in which each layer holds "
            "all that came before."
        )
    centres = [site.layer for site in sites(model, kind, layers=layers)]
    below, above = window // 2, (window + 1) // 2
    found = {c: range(max(0, c - below), min(n_layers, c + above)) for c in centres}
    return Windows(found, window)


@dataclass(frozen=True, eq=False)
class Place:
    """Positions that are restored together.

    Attributes:
        label: the word there, or what they are.
        role: their role, ``"subject"`` or ``"all"``.
        position: the only one; None where several may be.
        positions: they.
    """

    label: str
    role: str
    position: int | None
    positions: Int[Tensor, " n"]


def places_of(prompt: MeasuredRun, at: TraceAt) -> list[Place]:
    """Which positions of a prompt are restored together.

    Args:
        prompt: the prompt.
        at: what is restored together.

    Returns:
        The places; none before the subject.
    """
    start, n = prompt.positions[0], len(prompt.sequence)
    if at == "all":
        return [Place("<all>", "all", None, torch.arange(start, n))]
    if at == "subject":
        return [Place("<subject>", "subject", None, torch.tensor(prompt.positions))]
    roles = {p: role_of(prompt, p) for p in range(start, n)}
    if at == "positions":
        return [Place(_label(prompt, p), r, p, torch.tensor([p])) for p, r in roles.items()]
    of_role = {role: [p for p, r in roles.items() if r == role] for role in TRACE_ROLES}
    return [Place(f"<{r}>", r, None, torch.tensor(ps)) for r, ps in of_role.items() if ps]


def _label(prompt: MeasuredRun, position: int) -> str:
    """The word at a position, or the kind of its token."""
    words = [w.word for w in prompt.sequence.words if w.start <= position < w.end]
    return words[0] if words else f"<{prompt.sequence.kinds[position]}>"


def is_before(kind: TraceKind, severed: Severed | None) -> bool:
    """Whether what is restored comes before the severed output of the same layer.

    Args:
        kind: what is restored.
        severed: what is cut off.

    Returns:
        True if the output of the same layer is behind it.
    """
    if severed == "mlp_out":
        return kind in ("resid_pre", "resid_mid", "attn_out")
    return kind == "resid_pre"
