"""What SIMS and Slam share: the folder that slamkit writes.

- ``config.json``: ``model_type`` is "speech_language_model"; ``base_config`` is the whole config
  of the language model inside, but its ``vocab_size`` is the one *before* units were added; the
  real one is the top-level ``vocab_size``;
- weights: the inner model's names with ``lm.`` before them.

Source: slamkit (https://github.com/slp-rl/slamkit), ``model/unit_lm.py``.
"""

from abc import ABC
from typing import Any

from transformers import PreTrainedConfig

from slm_lens.families.family import Family, native_config
from slm_lens.families.files import CheckpointFiles

MODEL_TYPE = "speech_language_model"


class SlamkitFamily(Family, ABC):
    """A language model in slamkit's wrapper."""

    def weight_prefix(self, files: CheckpointFiles) -> str:
        """``lm.`` in slamkit's wrapper, nothing if the model was taken out of it.

        Args:
            files: the checkpoint.

        Returns:
            The prefix.
        """
        return "lm." if files.model_type == MODEL_TYPE else ""

    def hf_config(self, files: CheckpointFiles) -> PreTrainedConfig:
        """Config of the model inside, with the vocabulary that it was extended to.

        Args:
            files: the checkpoint.

        Returns:
            The config.
        """
        if files.model_type != MODEL_TYPE:
            return super().hf_config(files)
        entries = base_config(files) | {"vocab_size": files.number("vocab_size", at_least=1)}
        return native_config(entries, files.name)


def base_config(files: CheckpointFiles) -> dict[str, Any]:
    """The config of the language model inside.

    Raises:
        ValueError: there is none, or it does not say its class.
    """
    base = files.config.get("base_config")
    if not isinstance(base, dict) or not isinstance(base.get("model_type"), str):
        raise ValueError(
            f"load: config.json in {files.name} lacks base_config.model_type, expected the config "
            "that slamkit writes. Was it edited?"
        )
    return base


def base_rows(files: CheckpointFiles) -> int | None:
    """Rows of the text model's embedding before units were added; None if not recorded."""
    base = files.config.get("base_config")
    rows = base.get("vocab_size") if isinstance(base, dict) else None
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None
