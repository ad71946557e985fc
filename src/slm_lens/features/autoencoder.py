"""`SparseAutoencoder`: a trained dictionary of the residual stream at one layer.

``f = z * (z > threshold)`` with ``z = (x - b_dec) W_enc + b_enc``, and ``x' = f W_dec + b_dec``.

Rows of the decoder have norm 1, so that an activation is the length of what its feature adds to the
stream. The scale of the states in training is folded into the weights: `encode` takes the residual
stream as it is. A BatchTopK autoencoder is read with the threshold that was estimated for it, as a
JumpReLU one, so that an activation does not depend on the rest of a batch.

Source: Bussmann et al. 2024, arXiv:2412.06410; Rajamanoharan et al. 2024, arXiv:2407.14435.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.features.settings import Architecture, SAESettings
from slm_lens.lens.model import LensModel
from slm_lens.lens.tuned_lens import unembedding_hash


@dataclass(frozen=True)
class StreamSite:
    """Where in which model states are read.

    Attributes:
        layer: as in `residual_stack`: 0 is the embedding, ``l`` the output of block ``l - 1``.
        model: name of the model.
        unembedding: hash of its unembedding (`unembedding_hash`); None where it is not known.
    """

    layer: int
    model: str
    unembedding: str | None

    @property
    def hook_name(self) -> str:
        """TransformerLens' name of the place."""
        if self.layer == 0:
            return "blocks.0.hook_resid_pre"
        return f"blocks.{self.layer - 1}.hook_resid_post"


def stream_site(model: LensModel, layer: int) -> StreamSite:
    """A layer of a model.

    Args:
        model: the model.
        layer: as in `residual_stack`.

    Returns:
        The site.

    Raises:
        ValueError: the model has no such layer.
    """
    n_layers = int(model.cfg.n_layers)
    if not 0 <= layer <= n_layers:
        raise ValueError(
            f"stream_site: got layer {layer}, expected 0 (the embedding) to {n_layers}."
        )
    provenance = getattr(model, "provenance", None)  # a plain bridge has none
    name = str(model.cfg.model_name) if provenance is None else provenance.name
    return StreamSite(layer, name, unembedding_hash(model))


@dataclass(frozen=True)
class SAEFacts:
    """What a sparse autoencoder is besides its numbers.

    Attributes:
        architecture: how it was trained.
        site: what its states are; None for states of no model.
        state_scale: what states were multiplied by in training; folded into the weights.
        n_positions: states that it was trained on; 0 for one that was not trained here.
        settings: of the training; None for one that was not trained here.
        subtracts_b_dec: whether ``b_dec`` is taken off the states before they are encoded.
    """

    architecture: Architecture
    site: StreamSite | None
    state_scale: float = 1.0
    n_positions: int = 0
    settings: SAESettings | None = None
    subtracts_b_dec: bool = True


class SparseAutoencoder:
    """A dictionary of features of one layer; its weights are fixed.

    Args:
        W_enc: encoder.
        b_enc: its bias.
        W_dec: decoder; row ``i`` is what feature ``i`` adds to the stream.
        b_dec: its bias.
        threshold: what a pre-activation must exceed, at least 0.
        facts: what it is.

    Attributes:
        W_enc: encoder, float32.
        b_enc: its bias.
        W_dec: decoder.
        b_dec: its bias.
        threshold: of each feature.
        facts: what it is.

    Raises:
        ValueError: a weight that is not finite, or a threshold below 0.
    """

    def __init__(
        self,
        W_enc: Float[Tensor, "d_model d_sae"],
        b_enc: Float[Tensor, " d_sae"],
        W_dec: Float[Tensor, "d_sae d_model"],
        b_dec: Float[Tensor, " d_model"],
        threshold: Float[Tensor, " d_sae"],
        facts: SAEFacts,
    ) -> None:
        given = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}
        given["threshold"] = threshold
        odd = [name for name, weight in given.items() if not weight.isfinite().all()]
        if odd or (threshold < 0).any():
            raise ValueError(
                f"SparseAutoencoder: got {odd} with NaN or infinite entries and a least threshold "
                f"of {threshold.min().item():.3g}, expected finite weights and thresholds of at "
                "least 0. Did its training diverge? Take a smaller learning_rate."
            )
        kept = {name: weight.detach().float().clone() for name, weight in given.items()}
        self.W_enc, self.b_enc = kept["W_enc"], kept["b_enc"]
        self.W_dec, self.b_dec = kept["W_dec"], kept["b_dec"]
        self.threshold, self.facts = kept["threshold"], facts

    @property
    def d_sae(self) -> int:
        """How many features there are."""
        return len(self.b_enc)

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return len(self.b_dec)

    @property
    def layer(self) -> int | None:
        """Layer of the stream, as in `residual_stack`; None for states of no model."""
        return None if self.facts.site is None else self.facts.site.layer

    @property
    def hook_name(self) -> str | None:
        """TransformerLens' name of the place; None for states of no model."""
        return None if self.facts.site is None else self.facts.site.hook_name

    @property
    def name(self) -> str:
        """What it is, where, and a hash of its numbers."""
        digest = hashlib.sha256()
        for part in (self.W_enc, self.b_enc, self.W_dec, self.b_dec, self.threshold):
            digest.update(part.cpu().contiguous().numpy().tobytes())
        what = f"{self.facts.architecture}, {self.d_sae} features"
        return f"SAE ({what}, {self.hook_name}, {digest.hexdigest()[:8]})"

    def require_model(self, model: LensModel, caller: str) -> None:
        """Refuse a model that it was not trained on.

        Args:
            model: the model.
            caller: the public function to name in the message.

        Raises:
            ValueError: the model has another unembedding, or it is not known of which model the
                autoencoder is.
        """
        own, site = unembedding_hash(model), self.facts.site
        if site is None or site.unembedding is None:
            raise ValueError(
                f"{caller}: got a sparse autoencoder that does not say which model it is of, "
                f"expected one of the model with the unembedding {own[:12]}... Train it with "
                "site=stream_site(model, layer), or read it with load_sae(..., "
                "without_hash='trust')."
            )
        if site.unembedding != own:
            raise ValueError(
                f"{caller}: got a sparse autoencoder of {site.model!r}, whose unembedding has the "
                f"hash {site.unembedding[:12]}..., this model's has {own[:12]}...; expected the "
                "same. Another dtype, compatibility mode or other weights change it: train one on "
                "this model."
            )

    def encode(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_sae"]:
        """Activations of all features.

        Args:
            states: residual stream.

        Returns:
            Activations, float32; 0 where a feature is not active.
        """
        pre = self.pre_activations(states)
        return pre * (pre > self.threshold)

    def pre_activations(
        self, states: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_sae"]:
        """What is compared with the thresholds.

        Args:
            states: residual stream.

        Returns:
            Pre-activations, float32.
        """
        inputs = states.float()
        if self.facts.subtracts_b_dec:
            inputs = inputs - self.b_dec
        return inputs @ self.W_enc + self.b_enc

    def decode(self, activations: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_model"]:
        """States that activations stand for.

        Args:
            activations: of all features.

        Returns:
            Residual stream, float32.
        """
        return activations.float() @ self.W_dec + self.b_dec

    def __call__(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """States as the dictionary renders them.

        Args:
            states: residual stream.

        Returns:
            ``decode(encode(states))``.
        """
        return self.decode(self.encode(states))


def random_sae(
    states: Float[Tensor, "n d_model"],
    d_sae: int,
    *,
    k: float,
    seed: int,
    site: StreamSite | None = None,
) -> SparseAutoencoder:
    """A dictionary of random directions, as sparse as a trained one: a control.

    Args:
        states: what it is to be sparse on; they give its centre and its one threshold.
        d_sae: features.
        k: active features for each state, on average.
        seed: of the directions.
        site: what the states are; None for states of no model.

    Returns:
        Decoder rows are Gaussian directions of norm 1, the encoder is their transpose, and the
        threshold is such that ``k`` features are active on average.

    Raises:
        ValueError: `k` is out of range.
    """
    if not 0 < k < d_sae:
        raise ValueError(f"random_sae: got k={k}, expected more than 0 and less than {d_sae}.")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(d_sae, states.shape[1], generator=generator)
    W_dec = rows / rows.norm(dim=1, keepdim=True)
    b_dec = states.float().mean(0)
    pre = ((states.float() - b_dec) @ W_dec.T).flatten()
    at = pre.numel() - max(1, round(k * len(states)))
    threshold = pre.kthvalue(at).values.clamp(min=0).expand(d_sae)
    facts = SAEFacts("jumprelu", site)
    return SparseAutoencoder(W_dec.T, torch.zeros(d_sae), W_dec, b_dec, threshold, facts)
