"""The logit lens: every layer read through the model's own final norm and unembedding.

``z[l, i] = W_U . ln_final(h[l, i])``, where ``h[0]`` is the embedding and ``h[l]`` the output of
block ``l - 1``, so a model with L blocks has L + 1 layers and the last one gives the model's own
logits. `residual_stack` checks that on every run and refuses a model for which it does not hold.

transformer-lens has a `logit_lens` with ranks over the full vocabulary; the tests use it as an
oracle. Ours gives the logits themselves, one layer at a time, because a word's rank needs them
pooled over its positions and within text.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.model import LensModel, SpeechTextModel
from slm_lens.model._changes import hooks_on
from slm_lens.readout._result import stacked
from slm_lens.readout.parts import one_part, vocab_parts
from slm_lens.readout.pooling import Pool
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import Readout, Statistic, Wanted, target_sets

# Largest difference between the last layer's lens and the model's logits, over the largest
# deviation of those logits from their mean. Measured on random Qwen2 models on a CPU (3, 4 and 8
# layers; d_vocab 64, 1000 and 4096): float32 0; bfloat16 at most 4e-3 and float16 at most 5e-4 (the
# model rounds its logits to 8 and 11 bits; ours are float32). No final norm gives 0.7 or more.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


class LogitLens:
    """Residual vectors to logits, through a model's own final norm and unembedding.

    Logits are products in float32 whatever the model's dtype, so ranks do not suffer from logits
    that were rounded to the same number. The unembedding is used as it is stored; half precision
    is converted a few thousand tokens at a time.

    Args:
        model: the model, in evaluation mode.

    Attributes:
        unembedding: what normed states are multiplied with.
        parts: parts of its vocabulary; one part if the model does not know its vocabulary.

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
        self._model, self._made_of = model, model.W_U.data_ptr()
        self._dtype = model.W_U.dtype
        bias = model.b_U.detach()
        self.unembedding = Unembedding(
            model.W_U.detach().T,
            bias if bias.any() else None,
            model.adapter.apply_output_logits_transform,
        )
        self.parts = (
            vocab_parts(model.vocab)
            if isinstance(model, SpeechTextModel)
            else one_part(self.unembedding.d_vocab)
        )

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
        rows = self.normed(residual.reshape(-1, residual.shape[-1]))
        return self.unembedding.logits(rows).view(*residual.shape[:-1], -1)

    def normed(self, residual: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """Residual vectors after the final norm, ready to be unembedded.

        Args:
            residual: residual-stream vectors of any layer.

        Returns:
            Normed in the model's dtype, then float32.

        Raises:
            ValueError: the model has another unembedding since, or hooks on its final norm or
                unembedding.
        """  # noqa: DOC502 (raised by _require_as_it_was)
        self._require_as_it_was()
        return self._ln_final(residual[None].to(self._dtype))[0].float()

    def _require_as_it_was(self) -> None:
        if self._model.W_U.data_ptr() != self._made_of:
            raise ValueError(
                "LogitLens: the model was changed since the lens was made of it (compatibility "
                "mode, another dtype or device), expected the same. Make a new LogitLens(model)."
            )
        hooked = [
            name
            for part in ("ln_final", "unembed")
            for name, module in self._model.get_submodule(part).named_modules(prefix=part)
            if hooks_on(module)
        ]
        if hooked:
            raise ValueError(
                f"LogitLens: got hooks on {hooked}, expected none on the final norm and the "
                "unembedding: the lens applies both by itself, to rows of all layers together. "
                "Remove them (model.reset_hooks()) to read."
            )

    def require_model(self, model: LensModel, reader: str) -> None:
        """Refuse another model than the one that the lens was made of.

        Args:
            model: the model to read.
            reader: the public function to name in the message.

        Raises:
            ValueError: it is another one, or was changed since.
        """
        if model.W_U.data_ptr() != self._made_of:
            raise ValueError(
                f"{reader}: got the logit lens of another model, or from before it was changed; "
                "expected LogitLens(model)."
            )

    def readout(
        self,
        residual: Float[Tensor, "*rows d_model"] | Iterable[Tensor],
        *statistics: Statistic,
        targets: Int[Tensor, "..."] | None = None,
        within: Sequence[str] | None = None,
        k: int = 10,
        final: Float[Tensor, "*positions d_model"] | None = None,
        differentiable: bool = False,
    ) -> Readout:
        """What layers say, without ever holding their logits for all positions.

        ::

            stack = slm_lens.residual_stack(model, sequence.tokens[None])
            read = LogitLens(model).readout(stack, "mass", "top_k", k=5)
            read.mass["text"]           # [layer, batch, pos]
            read.top_k["text"].ids      # [layer, batch, pos, 5]

        Args:
            residual: residual-stream vectors, such as a whole stack; or an iterable of layers, each
                ``[*rows, d_model]``, of which one is held at a time.
            *statistics: what is wanted, of ``"rank"``, ``"log_prob"`` (both of `targets`),
                ``"mass"``, ``"entropy"``, ``"kl"``, ``"log_normaliser"``, ``"top_k"``; see
                `Readout`.
            targets: token ids, ``[n_targets]`` for all rows or ``[*rows, n_targets]`` (of an
                iterable: the rows of one layer).
            within: subsets of the vocabulary: ``"text"``, ``"speech"``, ``"full"``; None for all.
            k: how many tokens ``"top_k"`` gives.
            final: residual vectors of the last layer, for ``"kl"``: ``stack[-1]``.
            differentiable: let gradients flow from everything but ranks and top tokens.

        Returns:
            What was wanted; the axes are those of ``residual`` without the last, the first one
            that of an iterable.

        Raises:
            ValueError: no layer, a shape does not fit, or a target lies outside the vocabulary.
        """
        wanted = Wanted(frozenset(statistics), targets, _names(within), k)
        if not isinstance(residual, Tensor):
            layers = [self._readout(h, wanted, final, differentiable) for h in residual]
            if not layers:
                raise ValueError("readout: got no layer, expected at least one.")
            return stacked(layers)
        return self._readout(residual, wanted, final, differentiable)

    def _readout(
        self, residual: Tensor, wanted: Wanted, final: Tensor | None, differentiable: bool
    ) -> Readout:
        return read_out(
            residual,
            self.unembedding,
            self.parts,
            {"position": wanted},
            normalise=self.normed,
            final=final,
            differentiable=differentiable,
        )["position"]

    def readout_words(
        self,
        residual: Float[Tensor, "*lead pos d_model"],
        spans: Int[Tensor, "n_words 2"],
        *statistics: Statistic,
        pool: Pool = "max",
        targets: Sequence[Sequence[Sequence[int]]] | None = None,
        within: Sequence[str] | None = None,
        k: int = 10,
    ) -> Readout:
        """The same for words: their logits are pooled over positions before anything is read.

        Args:
            residual: residual-stream vectors of one sequence, of one or more layers.
            spans: half-open positions of each word, in order.
            *statistics: what is wanted, but ``"kl"``.
            pool: ``"max"`` takes the largest logit of each token over the word's positions,
                ``"last"`` those at its last position.
            targets: for each word, sets of token ids of which the best counts; as many sets for
                every word.
            within: as in `readout`.
            k: as in `readout`.

        Returns:
            What was wanted; the last axis of rows counts words.

        Raises:
            ValueError: ``"kl"`` is wanted, a shape or span does not fit, or a target lies outside
                the vocabulary.

        Source:
            Pooling: as reported second hand of Sternberg et al. 2026, arXiv:2606.22473.
        """
        if "kl" in statistics:
            raise ValueError(
                "readout_words: got 'kl', expected another statistic: it is read at positions, by "
                "readout(..., final=...)."
            )
        sets = None if targets is None else target_sets(targets)
        chosen = _names(within)
        return read_out(
            residual,
            self.unembedding,
            self.parts,
            {pool: Wanted(frozenset(statistics), sets, chosen, k)},
            normalise=self.normed,
            spans=spans,
        )[pool]

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


def _names(within: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of subsets."""
    if isinstance(within, str):
        raise ValueError(f"readout: got within={within!r}, expected a list: within=[{within!r}].")
    return None if within is None else tuple(within)
