"""The norm before the unembedding, read in two ways.

``ln_final(h) = gain * centre(h) / scale(h) + offset``. LayerNorm centres and has an offset; RMSNorm
does neither. A *residual state* is normed by itself. A *summand* of the last residual is taken
through the same norm with the scale fixed to that of the last residual, which makes it linear:

``part(c) = gain * centre(c) / scale(h_last)``, so ``sum of part(c) + offset = ln_final(h_last)``.

transformer-lens' `apply_ln_to_stack` does the centring and the scale. It leaves the gain out, which
is right only where the gain was folded into the unembedding. Compatibility mode does that for most
models, and only warns when it does not (GLM, OLMo 2). So gain and offset are read off the norm as
it stands: once folded they are 1 and 0.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (direct logit
attribution).
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from slm_lens.lens.model import LensModel


class FinalNorm:
    """``ln_final`` of a model, with the scales of one run.

    Args:
        model: the model.
        scale: ``ln_final.hook_scale`` of the run, the scale of the last residual stream.
    """

    def __init__(self, model: LensModel, scale: Float[Tensor, "batch pos 1"]) -> None:
        from transformer_lens import ActivationCache

        self._cache = ActivationCache({"ln_final.hook_scale": scale.float()}, model)
        self._ln_final = model.get_submodule("ln_final")
        self._dtype = model.W_U.dtype
        self._gain, self._offset = _gain_and_offset(self._ln_final, scale.device)

    @property
    def offset(self) -> Float[Tensor, " d_model"] | None:
        """What the norm adds at the end, float32; None when it adds nothing (RMSNorm)."""
        return self._offset

    @torch.no_grad()
    def of_states(
        self, states: Float[Tensor, "component batch pos d_model"]
    ) -> Float[Tensor, "component batch pos d_model"]:
        """Residual states, each normed by itself, as `LogitLens` does.

        Args:
            states: residual states.

        Returns:
            ``ln_final`` of each, float32.
        """
        rows = states.reshape(1, -1, states.shape[-1]).to(self._dtype)
        return self._ln_final(rows).float().view(states.shape)

    @torch.no_grad()
    def of_summands(
        self, summands: Float[Tensor, "component batch pos d_model"]
    ) -> Float[Tensor, "component batch pos d_model"]:
        """Summands of the last residual stream, with its scale and without the offset.

        Args:
            summands: vectors that were added to the residual stream.

        Returns:
            The part of ``ln_final(h_last)`` that each of them makes up, float32.
        """
        scaled = cast(Tensor, self._cache.apply_ln_to_stack(summands.float()))
        return scaled if self._gain is None else scaled * self._gain


def reading_directions(
    model: LensModel, rows: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_model"]:
    """Directions of the residual stream that rows behind the final norm read.

    ``row . ln_final(h) = direction . h / scale(h)``, and with an offset a constant on top. So a
    state without its part along the direction has no logit but that constant.

    Args:
        model: the model.
        rows: rows of the unembedding, or sums of them.

    Returns:
        ``centre(gain * row)`` for LayerNorm, ``gain * row`` for RMSNorm, float32.

    Source:
        Ours; the transpose of `FinalNorm.of_summands`.
    """
    gain, _ = _gain_and_offset(model.get_submodule("ln_final"), rows.device)
    read = rows.float() if gain is None else rows.float() * gain
    if model.cfg.normalization_type in ("LN", "LNPre"):
        read = read - read.mean(-1, keepdim=True)
    return read


def _gain_and_offset(norm: nn.Module, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Float32 gain and offset of a norm; None for one that it does not have."""
    bridge = cast(Any, norm)
    gain, offset = getattr(bridge, "weight", None), getattr(bridge, "bias", None)
    if gain is not None:
        # Gemma stores its gain as the difference from 1, before and after folding.
        gain = gain.detach().float().to(device) + (1.0 if bridge.uses_weight_offset else 0.0)
    return gain, None if offset is None else offset.detach().float().to(device)
