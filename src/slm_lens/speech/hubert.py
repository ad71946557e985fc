"""Units from a HuBERT layer and k-means: the recipe of GSLM, TWIST, Spirit LM and SIMS.

1. the waveform at 16 kHz gets 40 zeros at either end, as the encoder was run for clustering;
2. HuBERT's ``hidden_states[layer]`` gives one vector a frame (25 or 50 frames a second);
3. each frame becomes its nearest centroid;
4. runs of one unit are collapsed, with their durations kept.

Source: Hsu et al. 2021, arXiv:2106.07447 (HuBERT); Lakhotia et al. 2021, arXiv:2102.01192 (units
from a layer and k-means); Hassid et al. 2023, arXiv:2305.13009 (mHuBERT at 25 Hz, layer 11, 500
units); padding as in slamkit's ``hubert_feature_extractor.py``.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from slm_lens._atomic import written_atomically
from slm_lens.errors import AudioError
from slm_lens.speech.audio import check_waveform
from slm_lens.speech.centroids import (
    CENTROIDS_FILE,
    checked_centroids,
    load_centroids,
    nearest_centroid,
    save_centroids,
)
from slm_lens.speech.units import Units

HUBERT_SAMPLE_RATE_HZ = 16_000
"""The rate of every published HuBERT; its configuration does not state it."""

_PADDING_SAMPLES = 40


class HubertKMeans:
    """A unit tokenizer: a layer of a Hugging Face HuBERT, then the nearest k-means centroid.

    Args:
        model: a ``transformers.HubertModel`` in evaluation mode, on any device.
        centroids: one row for each unit, in the space of ``hidden_states[layer]``.
        layer: index into ``hidden_states``: 0 is what enters the first block, ``layer`` is what
            leaves block number ``layer`` (mHuBERT 25 Hz: 11).
        dedup: collapse runs of one unit.

    Attributes:
        kind: ``"hubert_kmeans"``, as in ``unit_tokenizer.json``.
        n_units: how many distinct units there are.
        sample_rate_hz: 16,000.
        frame_rate_hz: frames per second, from the strides of the encoder.
        dedup: whether `encode` collapses runs of one unit.
        layer: index into ``hidden_states``.

    Raises:
        TypeError: ``model`` is not a ``HubertModel``.
        ValueError: the model is in training mode, there is no such layer, or the centroids do not
            have the model's width.

    Source:
        See the module.
    """

    kind = "hubert_kmeans"

    def __init__(
        self,
        model: nn.Module,
        centroids: Float[Tensor, "n_units d_model"],
        *,
        layer: int,
        dedup: bool = True,
    ) -> None:
        from transformers import HubertModel

        if not isinstance(model, HubertModel):
            raise TypeError(
                f"HubertKMeans: got a {type(model).__name__}, expected a transformers.HubertModel. "
                "For a fine-tuned HubertForCTC pass `model.hubert`."
            )
        if model.training:
            raise ValueError(
                "HubertKMeans: got a model in training mode, whose dropout and masking change the "
                "units; expected evaluation mode. Call `model.eval()`."
            )
        n_layers, d_model = model.config.num_hidden_layers, model.config.hidden_size
        if not 0 <= layer <= n_layers:
            raise ValueError(
                f"HubertKMeans: got layer={layer}, expected 0 <= layer <= {n_layers} for this "
                "model. 0 is what enters the first block."
            )
        self._centroids = checked_centroids(centroids, "HubertKMeans").double().cpu()
        if self._centroids.shape[1] != d_model:
            raise ValueError(
                f"HubertKMeans: got centroids of width {self._centroids.shape[1]}, expected the "
                f"model's hidden_size={d_model}. Were they fitted on another model?"
            )
        self._model = model
        self.n_units = len(centroids)
        self.sample_rate_hz = HUBERT_SAMPLE_RATE_HZ
        self.frame_rate_hz = HUBERT_SAMPLE_RATE_HZ / math.prod(model.config.conv_stride)
        self.dedup = dedup
        self.layer = layer

    @classmethod
    def from_folder(
        cls,
        hubert_folder: str | Path,
        centroids_path: str | Path,
        *,
        layer: int,
        dedup: bool = True,
    ) -> "HubertKMeans":
        """Load a HuBERT checkpoint and its centroids from disk; nothing is downloaded.

        Args:
            hubert_folder: a Hugging Face folder with ``config.json`` and the weights.
            centroids_path: a ``.safetensors`` (tensor ``centroids``) or ``.npy`` file.
            layer: index into ``hidden_states``.
            dedup: collapse runs of one unit.

        Returns:
            The tokenizer, on the CPU in float32.

        Raises:
            FileNotFoundError: the folder has no ``config.json``.
            ValueError: the folder holds another kind of model or lacks weights, or the centroids
                cannot be used.

        Source:
            See the module.
        """
        folder = Path(hubert_folder)
        config_file = folder / "config.json"
        if not config_file.is_file():
            raise FileNotFoundError(
                f"HubertKMeans.from_folder: got {folder} without a config.json, expected a Hugging "
                "Face HuBERT folder. Fetch one first: `hf download slprl/mhubert-base-25hz "
                "--local-dir FOLDER`."
            )
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
        if model_type != "hubert":
            raise ValueError(
                f"HubertKMeans.from_folder: got a model of type {model_type!r} in {folder}, "
                "expected 'hubert'. Give the folder of the speech encoder."
            )
        from transformers import HubertModel

        centroids = load_centroids(centroids_path)
        with_info: Any = HubertModel.from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        model, loaded = with_info
        # The embedding of masked frames is used in training only, and some checkpoints lack it.
        missing = sorted(set(loaded["missing_keys"]) - {"masked_spec_embed"})
        if missing:
            raise ValueError(
                f"HubertKMeans.from_folder: got {folder} without the weights {missing[:4]}, which "
                f"would be random ({len(missing)} missing); expected a whole HuBERT checkpoint. "
                "Fetch it again."
            )
        return cls(model.eval(), centroids, layer=layer, dedup=dedup)

    def encode(self, waveform: Float[Tensor, " n_samples"]) -> Units:
        """Units of one mono clip.

        Args:
            waveform: samples at 16 kHz, full scale at 1. Silence is allowed.

        Returns:
            The units, on the CPU.

        Raises:
            AudioError: the samples cannot be used, or are too few for one frame.

        Source:
            See the module.
        """
        check_waveform(waveform, "HubertKMeans.encode", silence_dbfs=None)
        padded = functional.pad(waveform, (_PADDING_SAMPLES, _PADDING_SAMPLES))
        needed = self._receptive_field_samples()
        if len(padded) < needed:
            raise AudioError(
                f"HubertKMeans.encode: got {len(waveform)} samples, expected at least "
                f"{needed - 2 * _PADDING_SAMPLES} for one frame. Is the clip at 16 kHz?"
            )
        with torch.inference_mode():
            batch = padded[None].to(self._model.device, self._model.dtype)
            hidden = self._model(batch, output_hidden_states=True).hidden_states[self.layer][0]
        frames = nearest_centroid(hidden.cpu(), self._centroids)
        return Units.from_frames(frames, frame_rate_hz=self.frame_rate_hz, dedup=self.dedup)

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer to a folder that `load_unit_tokenizer` reads.

        Args:
            folder: made if it is not there; gets ``unit_tokenizer.json``,
                ``centroids.safetensors`` and the encoder under ``hubert/``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._model.save_pretrained(folder / "hubert")
        save_centroids(folder / CENTROIDS_FILE, self._centroids.float())
        about = {"kind": self.kind, "hubert": "hubert", "layer": self.layer, "dedup": self.dedup}
        # Last, so that a folder that was left half written is not taken for a tokenizer.
        with written_atomically(folder / "unit_tokenizer.json") as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def _receptive_field_samples(self) -> int:
        """Samples under one frame: the shortest input that gives one."""
        n_samples = 1
        config = self._model.config
        for kernel, stride in zip(
            reversed(config.conv_kernel), reversed(config.conv_stride), strict=True
        ):
            n_samples = (n_samples - 1) * stride + kernel
        return n_samples
