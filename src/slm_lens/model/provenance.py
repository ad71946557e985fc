"""What the numbers of a model depend on besides its input."""

from dataclasses import dataclass
from typing import Literal

NUMERIC = (
    "dtype",
    "autocast",
    "attention",
    "forward",
    "compatibility_mode",
    "weights_processed",
    "hooks",
)
"""Fields that change the numbers of one and the same model."""


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a model depend on besides its input; every result holds one.

    Attributes:
        name: name or folder that was loaded.
        family: which family's layout it was read with, e.g. "sims".
        architecture: Hugging Face class of the language model.
        dtype: dtype of the weights, e.g. "float32".
        attention: attention kernel that ran. Another one changes ranks in half precision.
        adapter: name or folder of the adapter (LoRA) on top, and whether it was merged into the
            weights or is live; None without one.
        compatibility_mode: whether TransformerLens' compatibility mode is on.
        weights_processed: whether it folded and centred weights. That changes the residual
            stream, though not the model's predictions.
        random_weights_seed: seed with which `random_weights` replaced every weight; None for the
            weights that were loaded.
        forward: which forward pass ran: "hooked" (the bridge's, with eager attention) or "fast"
            (the plain model's; see `residual_stack`).
        kernel: what read the states over the vocabulary, as `Readout.kernel` has it: "tiled", or
            "triton" on CUDA. It changes numbers by the rounding of products at most.
        hooks: hook points that had hooks on them, which act in the hooked forward.
        autocast: dtype that the blocks multiplied in, where that is not the weights' own.
    """

    name: str
    family: str
    architecture: str
    dtype: str
    attention: str
    adapter: str | None
    compatibility_mode: bool
    weights_processed: bool
    random_weights_seed: int | None
    forward: Literal["fast", "hooked"] = "hooked"
    kernel: Literal["tiled", "triton"] = "tiled"
    hooks: tuple[str, ...] = ()
    autocast: str | None = None

    @property
    def model_and_family(self) -> str:
        """The model as messages name it."""
        return f"the model {self.name!r} (family {self.family!r})"

    def in_words(self) -> str:
        """All but the name, in one short line.

        Returns:
            For example "sims, Qwen2ForCausalLM, float32, sdpa attention, fast forward, no
            adapter, compatibility mode off".
        """
        mode = "on" if self.compatibility_mode else "off"
        parts = [
            self.family,
            self.architecture,
            self.dtype if self.autocast is None else f"{self.dtype} (autocast {self.autocast})",
            f"{self.attention} attention",
            f"{self.forward} forward",
            "no adapter" if self.adapter is None else f"adapter {self.adapter}",
            f"compatibility mode {mode}" + (" (weights processed)" * self.weights_processed),
        ]
        if self.kernel != "tiled":
            parts.append(f"{self.kernel} readout")
        if self.hooks:
            parts.append(f"hooks on {', '.join(self.hooks)}")
        if self.random_weights_seed is not None:
            parts.append(f"random weights (seed {self.random_weights_seed})")
        return ", ".join(parts)

    def differences(self, other: "Provenance") -> list[str]:
        """What changes the numbers and is not the same in two results.

        Args:
            other: provenance of the other result.

        Returns:
            One part of a sentence for each field of `NUMERIC` that differs, such as
            "dtype 'bfloat16' instead of 'float32'": this one's value, then the other's.
        """
        return [
            f"{field} {self.__dict__[field]!r} instead of {other.__dict__[field]!r}"
            for field in NUMERIC
            if self.__dict__[field] != other.__dict__[field]
        ]
