"""The tuned lens: the logit lens after a small learned change of each layer's states.

``z[l] = W_U . ln_final(h[l] + A[l] h[l] + b[l])``, one matrix and one vector a layer, zero at the
start, so that an untrained tuned lens is the logit lens. They are fitted so that the layer's
prediction comes near the model's own (`slm_lens.lens.fit`).

In a speech-text model the final prediction at a *speech* position is a speech unit. A lens that is
fitted there learns to read speech units everywhere, and hides the text in the middle layers. So a
lens knows at positions of which modality it was fitted; one that was fitted at *text* positions can
be read at speech positions.

Source: Belrose et al. 2023, arXiv:2303.08112, equations 6 and 8; modalities are ours.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slm_lens._atomic import write_atomically
from slm_lens._json import read_json_object
from slm_lens.lens.lens_facts import TunedLensFacts, read_lens_facts
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel

_NAMES = {
    "slm-lens": "tuned lens",
    "tuned-lens": "tuned lens of the tuned-lens package",
    "jacobian": "Jacobian lens",
}


class TunedLens:
    """A logit lens with an affine change of each layer's states before it.

    Args:
        model: the model, in evaluation mode.
        weight: matrix of each layer but the last, from 0 (embeddings); None for zeros.
        bias: vector of each layer but the last; None for zeros.
        facts: how it was fitted; None for a lens that was not.

    Attributes:
        weight: ``A``, float32.
        bias: ``b``, float32.
        facts: how it was fitted.
        logit_lens: the model's own lens.

    Raises:
        ValueError: the model is in training mode, or the shapes are not the model's.

    Source:
        Belrose et al. 2023, arXiv:2303.08112.
    """

    def __init__(
        self,
        model: LensModel,
        *,
        weight: Float[Tensor, "layer d_model d_model"] | None = None,
        bias: Float[Tensor, "layer d_model"] | None = None,
        facts: TunedLensFacts | None = None,
    ) -> None:
        self.logit_lens = LogitLens(model)
        n_layers, d_model, device = model.cfg.n_layers, model.cfg.d_model, model.W_U.device
        zeros = torch.zeros(n_layers, d_model, d_model, device=device)
        self.weight = zeros if weight is None else weight.float().to(device)
        self.bias = zeros[:, 0].clone() if bias is None else bias.float().to(device)
        shapes = tuple(self.weight.shape), tuple(self.bias.shape)
        if shapes != ((n_layers, d_model, d_model), (n_layers, d_model)):
            raise ValueError(
                f"TunedLens: got a weight of shape {shapes[0]} and a bias of shape {shapes[1]}, "
                f"expected {(n_layers, d_model, d_model)} and {(n_layers, d_model)}. Is the lens "
                "of another model?"
            )
        self.facts = facts or TunedLensFacts("all", 0, 0, unembedding_hash(model))

    @property
    def name(self) -> str:
        """What it is, where it was fitted, and a hash of its numbers."""
        digest = hashlib.sha256()
        for part in (self.weight, self.bias):
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        return f"{_NAMES[self.facts.source]} ({self.facts.positions}, {digest.hexdigest()[:8]})"

    def require_model(self, model: LensModel, reader: str) -> None:
        """Refuse a model that it was not fitted on.

        Args:
            model: the model to read.
            reader: the public function to name in the message.

        Raises:
            ValueError: the model has another unembedding.
        """
        own = unembedding_hash(model)
        if self.facts.unembedding != own:
            raise ValueError(
                f"{reader}: got a lens of a model whose unembedding has the hash "
                f"{self.facts.unembedding[:12]}..., this one has {own[:12]}...; expected the same. "
                "Another dtype, compatibility mode or other weights change it: fit one on this "
                "model."
            )

    def translate(
        self, residual: Float[Tensor, "*batch d_model"], layer: int
    ) -> Float[Tensor, "*batch d_model"]:
        """The residual stream as the last layer would have it.

        Args:
            residual: residual-stream vectors.
            layer: the layer that they are of, from 0 (embeddings) to ``n_layers``; the last one
                is left as it is.

        Returns:
            ``h + A h + b`` in float32; with gradients if `weight` asks for them.

        Raises:
            ValueError: there is no such layer.
        """
        if not 0 <= layer <= len(self.weight):
            raise ValueError(
                f"TunedLens: got layer {layer}, expected 0 to {len(self.weight)}, where 0 is the "
                "embedding."
            )
        state = residual.float()
        if layer == len(self.weight):
            return state
        return translated(state, self.weight[layer], self.bias[layer])

    @torch.no_grad()
    def __call__(
        self, residual: Float[Tensor, "*batch d_model"], layer: int
    ) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of residual vectors of a layer.

        Args:
            residual: residual-stream vectors.
            layer: the layer that they are of.

        Returns:
            Logits, float32.
        """
        return self.logit_lens(self.translate(residual, layer))

    def save(self, folder: str | Path) -> None:
        """Write ``tuned_lens.safetensors`` and ``tuned_lens.json``.

        Args:
            folder: made if needed; an earlier lens in it is replaced.
        """
        folder = Path(folder)
        tensors = {"weight": self.weight.detach().cpu(), "bias": self.bias.detach().cpu()}
        text = json.dumps(asdict(self.facts), indent=2)
        write_atomically(
            folder / "tuned_lens.safetensors",
            lambda part: save_file({k: t.contiguous() for k, t in tensors.items()}, part),
        )
        write_atomically(folder / "tuned_lens.json", lambda p: p.write_text(text, encoding="utf-8"))


def translated(
    state: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, "d_model d_model"],
    bias: Float[Tensor, " d_model"],
) -> Float[Tensor, "*batch d_model"]:
    """The affine change of one layer.

    Args:
        state: residual-stream vectors.
        weight: ``A``.
        bias: ``b``.

    Returns:
        ``h + A h + b`` in float32.
    """
    state = state.float()
    return state + state @ weight.T + bias


def load_tuned_lens(folder: str | Path, model: LensModel) -> TunedLens:
    """Read a tuned lens that `TunedLens.save`, or the ``tuned-lens`` package, wrote.

    Args:
        folder: where it is.
        model: the model that it was fitted on.

    Returns:
        The lens.

    Raises:
        LookupError: there is no lens in the folder.
        ValueError: the lens is of another model, or damaged.
    """
    folder = Path(folder)
    if (folder / "tuned_lens.json").is_file():
        facts = read_lens_facts(folder / "tuned_lens.json")
        _same_unembedding(facts.unembedding, unembedding_hash(model), folder)
        try:
            tensors = load_file(folder / "tuned_lens.safetensors")
            weight, bias = tensors["weight"], tensors["bias"]
        except (SafetensorError, OSError, KeyError) as error:
            raise ValueError(
                f"load_tuned_lens: tuned_lens.safetensors in {folder} cannot be read ({error}), "
                "expected what TunedLens.save wrote. Was it cut short?"
            ) from error
        return TunedLens(model, weight=weight, bias=bias, facts=facts)
    if (folder / "params.pt").is_file() and (folder / "config.json").is_file():
        return _from_package(folder, model)
    raise LookupError(
        f"load_tuned_lens: no tuned_lens.json in {folder}, and no params.pt with config.json; "
        "expected a folder that TunedLens.save or the tuned-lens package wrote. Is it one level "
        "deeper?"
    )


def unembedding_hash(model: LensModel) -> str:
    """Hash of what a lens reads through: final norm, unembedding and its bias.

    Args:
        model: the model.

    Returns:
        SHA-256 of the numbers as float32, in hexadecimal. Another dtype, folded norms or other
        weights give another hash.
    """
    digest = hashlib.sha256()
    parts = [model.W_U, model.b_U, *model.get_submodule("ln_final").parameters()]
    for part in parts:
        digest.update(str(tuple(part.shape)).encode())
        digest.update(part.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _from_package(folder: Path, model: LensModel) -> TunedLens:
    """A lens of the ``tuned-lens`` package: a pickle of tensors, and a hash of its own."""
    config = read_json_object(folder / "config.json")
    rounded = np.array_str(model.W_U.detach().cpu().float().T.contiguous().numpy(), precision=1)
    own = hashlib.sha256(rounded.encode()).hexdigest()
    _same_unembedding(str(config.get("unembed_hash")), own, folder)
    try:
        state = torch.load(folder / "params.pt", map_location="cpu", weights_only=True)
        n_layers = len({name.split(".")[0] for name in state})
        weight = torch.stack([state[f"{layer}.weight"] for layer in range(n_layers)])
        bias = torch.stack([state[f"{layer}.bias"] for layer in range(n_layers)])
    except Exception as error:
        raise ValueError(
            f"load_tuned_lens: params.pt in {folder} cannot be read ({error}), expected the "
            "translators of a tuned-lens package's lens, tensors only. Get the file again."
        ) from error
    facts = TunedLensFacts("all", 0, 0, unembedding_hash(model), source="tuned-lens")
    return TunedLens(model, weight=weight, bias=bias, facts=facts)


def _same_unembedding(theirs: str, own: str, folder: Path) -> None:
    if theirs != own:
        raise ValueError(
            f"load_tuned_lens: the lens in {folder} was fitted on a model whose unembedding has "
            f"the hash {theirs[:12]}..., this one has {own[:12]}...; expected the same. Another "
            "dtype, compatibility mode or other weights change it: load the model as it was then."
        )
