"""Codes of the Mimi codec: the streams of Llama-Mimi and SODA.

Mimi gives 12.5 frames a second, and for each frame one code of every codebook: the first carries
what is said (it was distilled from a self-supervised model), the others what the first left over.
A language model that reads ``n`` codebooks gets the first ``n``, frame by frame.

Source: Défossez et al. 2024, arXiv:2410.00037 (Mimi); ``transformers.MimiModel``.
"""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from slm_lens._atomic import written_atomically
from slm_lens.errors import AudioError
from slm_lens.speech.audio import check_waveform
from slm_lens.speech.units import Units


class MimiCodes:
    """A unit tokenizer: the codes of a Hugging Face Mimi, one stream for each codebook.

    Args:
        model: a ``transformers.MimiModel`` in evaluation mode, on any device.
        n_codebooks: how many codebooks the language model reads (Llama-Mimi 4, SODA 8).

    Attributes:
        kind: ``"mimi"``, as in ``unit_tokenizer.json``.
        n_units: codes of one codebook.
        n_codebooks: how many codebooks there are.
        sample_rate_hz: the sample rate that `encode` expects.
        frame_rate_hz: frames per second.
        dedup: False; every frame has its codes.

    Raises:
        TypeError: ``model`` is not a ``MimiModel``.
        ValueError: the model is in training mode, or has fewer codebooks.

    Source:
        See the module.
    """

    kind = "mimi"

    def __init__(self, model: nn.Module, *, n_codebooks: int) -> None:
        from transformers import MimiModel

        if not isinstance(model, MimiModel):
            raise TypeError(
                f"MimiCodes: got a {type(model).__name__}, expected a transformers.MimiModel. Load "
                "it with MimiCodes.from_folder."
            )
        if model.training:
            raise ValueError(
                "MimiCodes: got a model in training mode, expected evaluation mode. Call "
                "`model.eval()`."
            )
        if not 1 <= n_codebooks <= model.config.num_quantizers:
            raise ValueError(
                f"MimiCodes: got n_codebooks={n_codebooks}, expected 1 to "
                f"{model.config.num_quantizers} for this model. Llama-Mimi reads 4, SODA 8."
            )
        self._model = model
        self.n_units = int(model.config.codebook_size)
        self.n_codebooks = n_codebooks
        self.sample_rate_hz = int(model.config.sampling_rate)
        self.frame_rate_hz = float(model.config.frame_rate)
        self.dedup = False

    @classmethod
    def from_folder(cls, folder: str | Path, *, n_codebooks: int) -> "MimiCodes":
        """Load a Mimi checkpoint from disk; nothing is downloaded.

        Args:
            folder: a Hugging Face folder with ``config.json`` and the weights.
            n_codebooks: how many codebooks the language model reads.

        Returns:
            The tokenizer, on the CPU in float32.

        Raises:
            FileNotFoundError: the folder has no ``config.json``.
            ValueError: the folder holds another kind of model, or lacks weights.
        """
        folder = Path(folder)
        config_file = folder / "config.json"
        if not config_file.is_file():
            raise FileNotFoundError(
                f"MimiCodes.from_folder: got {folder} without a config.json, expected a Hugging "
                "Face Mimi folder. Fetch one first: `hf download kyutai/mimi --local-dir FOLDER`."
            )
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
        if model_type != "mimi":
            raise ValueError(
                f"MimiCodes.from_folder: got a model of type {model_type!r} in {folder}, expected "
                "'mimi'. Give the folder of the codec."
            )
        from transformers import MimiModel

        with_info: Any = MimiModel.from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        model, loaded = with_info
        missing = sorted(loaded["missing_keys"])
        if missing:
            raise ValueError(
                f"MimiCodes.from_folder: got {folder} without the weights {missing[:4]}, which "
                f"would be random ({len(missing)} missing); expected a whole Mimi checkpoint. "
                "Fetch it again."
            )
        return cls(model.eval(), n_codebooks=n_codebooks)

    def encode(self, waveform: Float[Tensor, " n_samples"]) -> dict[str, Units]:
        """Codes of one mono clip.

        Args:
            waveform: samples at `sample_rate_hz`, full scale at 1. Silence is allowed.

        Returns:
            A stream for each codebook, on the CPU: ``"units"`` for the first, then
            ``"codebook_1"`` and so on.

        Raises:
            AudioError: the samples cannot be used, or are too few for one frame.
        """
        check_waveform(waveform, "MimiCodes.encode", silence_dbfs=None)
        needed = round(self.sample_rate_hz / self.frame_rate_hz)
        if len(waveform) < needed:
            raise AudioError(
                f"MimiCodes.encode: got {len(waveform)} samples, expected at least {needed} for "
                f"one frame. Is the clip at {self.sample_rate_hz} Hz?"
            )
        with torch.inference_mode():
            batch = waveform[None, None].to(self._model.device, self._model.dtype)
            encoded: Any = self._model.encode(batch, num_quantizers=self.n_codebooks)
        return {
            "units" if q == 0 else f"codebook_{q}": Units.from_frames(
                frames.cpu(), frame_rate_hz=self.frame_rate_hz, dedup=False
            )
            for q, frames in enumerate(encoded.audio_codes[0].long())
        }

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer to a folder that `load_unit_tokenizer` reads.

        Args:
            folder: made if it is not there; gets ``unit_tokenizer.json``, and the codec under
                ``mimi/``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._model.save_pretrained(folder / "mimi")
        about = {"kind": self.kind, "mimi": "mimi", "n_codebooks": self.n_codebooks}
        # Last, so that a folder that was left half written is not taken for a tokenizer.
        with written_atomically(folder / "unit_tokenizer.json") as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
