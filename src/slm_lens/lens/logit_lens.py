"""The logit lens: every layer read through the model's own final norm and unembedding.

``z[l, i] = W_U . ln_final(h[l, i])``, where ``h[0]`` is the embedding and ``h[l]`` the output of
block ``l - 1``, so a model with L blocks has L + 1 layers and the last one gives the model's own
logits. `residual_stack` checks that on every run and refuses a model for which it does not hold.

transformer-lens has a `logit_lens` with ranks over the full vocabulary; the tests use it as an
oracle. Ours gives the logits themselves, one layer at a time, because a word's rank needs them
pooled over its positions and within text.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.model import LensModel

# Largest difference between the last layer's lens and the model's logits, over the largest
# deviation of those logits from their mean. Measured on random Qwen2 models on a CPU (3, 4 and 8
# layers; d_vocab 64, 1000 and 4096): float32 0; bfloat16 at most 4e-3 and float16 at most 5e-4 (the
# model rounds its logits to 8 and 11 bits; ours are float32). No final norm gives 0.7 or more.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


class LogitLens:
    """Residual vectors to logits, through a model's own final norm and unembedding.

    The unembedding is held in float32 (a copy when the model is in half precision), so ranks do
    not suffer from logits that were rounded to the same number.

    Args:
        model: the model, in evaluation mode.

    Raises:
        ValueError: the model is in training mode.

    Source:
        nostalgebraist 2020.
    """

    def __init__(self, model: LensModel) -> None:
        if model.training:
            raise ValueError(
                "LogitLens: got a model in training mode, expected evaluation mode (dropout would "
                "change every number). Call `model.eval()`."
            )
        self._ln_final = model.get_submodule("ln_final")
        self._transform: Callable[[Tensor], Tensor] = model.adapter.apply_output_logits_transform
        self._dtype = model.W_U.dtype
        self._W_U = model.W_U.detach().float()
        self._b_U = model.b_U.detach().float()

    @torch.no_grad()
    def __call__(
        self, residual: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of residual vectors.

        Args:
            residual: residual-stream vectors of any layer.

        Returns:
            Logits, float32.

        Raises:
            ValueError: a vector is not finite.
        """
        if not residual.isfinite().all():
            raise ValueError(
                "LogitLens: got a residual stream that is not finite, expected numbers (a rank "
                "against NaN would be 1). Did the model overflow? Load it in float32 or bfloat16."
            )
        return self.differentiable(residual)

    def differentiable(
        self, residual: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of residual vectors, with gradients where the vectors have them.

        Args:
            residual: residual-stream vectors of any layer.

        Returns:
            Logits, float32.
        """
        rows = residual.reshape(1, -1, residual.shape[-1]).to(self._dtype)
        normed = self._ln_final(rows)[0].float()
        logits = self._transform(normed @ self._W_U + self._b_U)
        return logits.view(*residual.shape[:-1], -1)

    def require_identity(
        self,
        last: Float[Tensor, "batch pos d_model"],
        logits: Float[Tensor, "batch pos d_vocab"],
    ) -> None:
        """Refuse a model whose last layer does not read as its own logits.

        Args:
            last: residual stream after the last block.
            logits: the model's own logits at the same positions.

        Raises:
            ValueError: they differ by more than rounding.
        """
        theirs = logits.float()
        spread = (theirs - theirs.mean(-1, keepdim=True)).abs().max().item()
        worst = (self(last) - theirs).abs().max().item()
        tolerance = _TOLERANCE[logits.dtype]
        if not worst <= tolerance * spread:
            raise ValueError(
                f"residual_stack: the lens on the last layer differs from the model's own logits "
                f"by up to {worst:.3g}, expected at most {tolerance:g} of their spread "
                f"{spread:.3g}. Does the model transform its residual stream between the last "
                "block and `unembed(ln_final(...))`, or was it changed by "
                "`enable_compatibility_mode()`?"
            )
