"""Entries of a config that transformers takes, and with which a model would compute nonsense.

Types and sizes are transformers' to check, and shapes are compared with the weights. What is left
are numbers that change no shape: transformers only warns of them, fails in the first forward pass,
or gives NaN.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

# Rotary settings that are numbers: more than this, and at most that.
NUMBERS = {
    "partial_rotary_factor": (0, 1),
    "rope_theta": (0, 1e18),
    "factor": (0, 1e18),
    "original_max_position_embeddings": (0, 1e18),
    "low_freq_factor": (0, 1e18),
    "high_freq_factor": (0, 1e18),
    "beta_fast": (0, 1e18),
    "beta_slow": (0, 1e18),
    "attention_factor": (0, 1e6),  # queries and keys are multiplied by it
    "mscale": (-1, 1e6),  # DeepSeek has 0, for none
    "mscale_all_dim": (-1, 1e6),
}
LISTS = ("short_factor", "long_factor")
WINDOWS = ("sliding_window", "attention_chunk_size")  # of attention, in tokens
LENGTHS = ("max_position_embeddings", "seq_length", "n_positions")
# Layers or experts, far beyond any model: transformers makes lists as long as their number.
MAX_PARTS = 10_000


def refuse_quantised(config: Mapping[str, Any], where: str) -> None:
    """Refuse a config that says that the weights are quantised, at any depth.

    Args:
        config: its entries, as in ``config.json``.
        where: whose config it is, for the message.

    Raises:
        ValueError: it does.
    """
    for path, value in _entries(config):
        if path.split(".")[-1] in ("quantization_config", "compression_config") and value:
            raise ValueError(
                f"load: {where} is quantised ({path} in its config), expected weights in full or "
                "half precision, which can be unembedded and patched. Take the checkpoint that it "
                "was made from."
            )


def check_numbers(config: Mapping[str, Any], where: str) -> None:
    """Refuse numbers that no model has.

    Args:
        config: its entries, as in ``config.json``.
        where: whose config it is, for the message.

    Raises:
        ValueError: NaN or infinity, a whole number beyond 64 bits, a negative epsilon of a norm,
            no probability as dropout, a context without positions, more than `MAX_PARTS` layers
            or experts, or a window that is no whole number.
    """
    for path, value in _entries(config):
        name = path.split(".")[-1]
        if name in WINDOWS and value is not None and type(value) is not int:
            raise ValueError(
                f"load: the config of {where} has {path}={value!r}, expected a whole number or "
                "null. Was config.json edited?"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        most = 2**63 if isinstance(value, int) else math.inf
        least = -most
        if name.endswith(("eps", "epsilon")):
            least = 0
        elif name.endswith(("dropout", "pdrop")):
            least, most = 0, 1
        elif name in LENGTHS:
            least = 1
        elif "layer" in name or "experts" in name:
            most = MAX_PARTS
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(
                f"load: the config of {where} has {path}={value!r}, expected a finite number from "
                f"{least} to {most}. Was config.json edited?"
            )


def check_rotation(parameters: object, where: str) -> None:
    """Refuse settings of rotary positions that transformers only warns of.

    Args:
        parameters: ``rope_parameters`` of a config, for all layers or for each type of layer.
        where: whose config it is, for the message.

    Raises:
        ValueError: a setting is no number or list of numbers, or out of its range.
    """
    if not isinstance(parameters, Mapping):
        return
    nested = [v for v in parameters.values() if isinstance(v, Mapping)]
    for settings in [parameters, *nested]:
        lengths = {len(v) for k, v in settings.items() if k in LISTS and isinstance(v, list)}
        odd = {k: v for k, v in settings.items() if not _suits(k, v)}
        if odd or len(lengths) > 1:
            raise ValueError(
                f"load: the config of {where} has the rotary settings {odd or dict(settings)}, "
                "expected positive numbers of the usual size, partial_rotary_factor at most 1, and "
                "lists of one length. Was config.json edited?"
            )


def refuse_rotation(settings: object, model_type: str, where: str) -> None:
    """Refuse rotary settings for a class without rotary positions.

    Args:
        settings: ``rope_scaling`` of the config.
        model_type: name of the class.
        where: whose config it is, for the message.

    Raises:
        ValueError: there are settings.
    """
    if settings:
        raise ValueError(
            f"load: the config of {where} has rope_scaling={settings!r}, expected none: "
            f"{model_type!r} has no rotary positions. Is its model_type right?"
        )


def _suits(name: str, value: object) -> bool:
    """Whether a rotary setting is of its kind; None leaves it to transformers."""
    if name in LISTS and isinstance(value, list):
        return all(_suits("factor", v) for v in value)
    if value is None or name not in (*NUMBERS, *LISTS):
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    more_than, most = NUMBERS.get(name, (math.inf, math.inf))
    return more_than < value <= most


def _entries(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Entries with their dotted paths, those of nested objects too; lists stay whole."""
    for key, value in config.items():
        yield path + key, value
        if isinstance(value, Mapping):
            yield from _entries(value, f"{path}{key}.")
