"""The state of a fit on disk."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from slm_lens._atomic import write_atomically
from slm_lens.lens._sequence_reader import SequenceReader, digest
from slm_lens.lens.fit_settings import FitSettings
from slm_lens.lens.model import LensModel
from slm_lens.lens.states import ForwardUsed, attention_of
from slm_lens.lens.tuned_lens import TunedLens, unembedding_hash
from slm_lens.sequence.sequence import SpeechTextSequence

CHECKPOINT = "fit.pt"


@runtime_checkable
class RunningFit(Protocol):
    """What there is to keep; see `slm_lens.lens.fit`."""

    tuned: TunedLens
    optimiser: torch.optim.Optimizer
    reader: SequenceReader
    n_steps: int
    n_positions: int
    evaluations: list[tuple[int, float]]


class FitState:
    """Keeps a fit in a folder, and takes it up again; without a folder it does nothing.

    Args:
        folder: where; None for nowhere.
        settings: of the fit.
        model: that it reads.
        held_out: sequences that it is evaluated on.
        used: which forward pass gives its states.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: FitSettings,
        model: LensModel,
        held_out: Sequence[SpeechTextSequence],
        used: ForwardUsed,
    ) -> None:
        self._path = None if folder is None else folder / CHECKPOINT
        self._is_of = {
            "settings": repr(settings),
            "unembedding": unembedding_hash(model),
            "held out": digest(held_out),
            "weights": _weights_in_short(model),
            "states": f"{used} forward, {attention_of(model, used)} attention",
        }

    def resume(self, fit: RunningFit) -> None:
        """Take over what is there.

        Args:
            fit: a fit that has not begun.

        Raises:
            ValueError: the state is of another fit.
        """
        if self._path is None or not self._path.is_file():
            return
        try:
            kept = torch.load(self._path, weights_only=True)
        except Exception as error:  # what damaged pickles raise has no common root
            raise ValueError(
                f"fit_tuned_lens: {self._path} cannot be read ({type(error).__name__}), expected "
                "the state of a fit. Was it cut short? Remove it to begin anew."
            ) from error
        if kept["is_of"] != self._is_of:
            raise ValueError(
                f"fit_tuned_lens: {self._path} is the state of another fit ({kept['is_of']}), "
                f"expected {self._is_of}. Choose another checkpoint folder, or the same settings."
            )
        with torch.no_grad():
            fit.tuned.weight.copy_(kept["weight"])
            fit.tuned.bias.copy_(kept["bias"])
        fit.optimiser.load_state_dict(kept["optimiser"])
        fit.reader.resume(kept["reader"])
        fit.n_steps, fit.n_positions = kept["n_steps"], kept["n_positions"]
        fit.evaluations = kept["evaluations"]

    def keep(self, fit: RunningFit) -> None:
        """Write the state, replacing the earlier one.

        Args:
            fit: a fit between two steps.
        """
        if self._path is None:
            return
        state = {
            "is_of": self._is_of,
            "n_steps": fit.n_steps,
            "n_positions": fit.n_positions,
            "evaluations": fit.evaluations,
            "reader": fit.reader.state,
            "weight": fit.tuned.weight.detach(),
            "bias": fit.tuned.bias.detach(),
            "optimiser": fit.optimiser.state_dict(),
        }
        write_atomically(self._path, lambda part: torch.save(state, part))


@torch.no_grad()
def _weights_in_short(model: LensModel) -> str:
    """A hash of the sum and the norm of every weight, to five digits."""
    numbers = [
        f"{name} {weight.sum(dtype=torch.float64).item():.4e} {weight.float().norm().item():.4e}"
        for name, weight in model.get_submodule("").named_parameters()
    ]
    return hashlib.sha256("\n".join(numbers).encode()).hexdigest()
