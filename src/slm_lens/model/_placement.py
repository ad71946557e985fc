"""Where `load` puts weights, and as what: options that are checked before anything is read."""

from collections.abc import Mapping
from typing import cast

import torch
from transformer_lens.utilities.multi_gpu import resolve_device_map

from slm_lens.families._hf_model import DeviceMap, Placement

SHARED_OUT = ("auto", "balanced", "balanced_low_0", "sequential")


def make_placement(
    dtype: torch.dtype | None,
    device: str | torch.device | None,
    device_map: DeviceMap | None,
    n_devices: int | None,
    max_memory: Mapping[int | str, int | str] | None,
) -> Placement:
    """Devices as TransformerLens resolves them; without a choice, the CPU.

    Args:
        dtype: as in `load`.
        device: as in `load`.
        device_map: as in `load`.
        n_devices: as in `load`.
        max_memory: as in `load`.

    Returns:
        Dtype and devices.

    Raises:
        ValueError: an option is unknown, or two exclude each other.
    """
    _check(dtype, device, device_map, n_devices, max_memory)
    try:
        shared_out, memory = resolve_device_map(
            n_devices,
            device_map,  # pyright: ignore[reportArgumentType] (torch.device is taken too)
            device,
            None if max_memory is None else dict(max_memory),  # pyright: ignore[reportArgumentType]
        )
    except ValueError as error:
        raise ValueError(
            f"load: got device={device!r}, device_map={device_map!r}, n_devices={n_devices}: "
            f"{error} Expected one of them, and devices that this machine has."
        ) from error
    if shared_out is None:
        shared_out = {"": "cpu" if device is None else str(torch.device(device))}
    return Placement(dtype, cast(DeviceMap, shared_out), memory)


def _check(
    dtype: torch.dtype | None,
    device: str | torch.device | None,
    device_map: DeviceMap | None,
    n_devices: int | None,
    max_memory: Mapping[int | str, int | str] | None,
) -> None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(
            f"load: got dtype={dtype!r}, expected torch.float32, torch.bfloat16, torch.float16 or "
            "None for the one on disk."
        )
    if isinstance(device_map, str) and device_map not in SHARED_OUT:
        raise ValueError(
            f"load: got device_map={device_map!r}, expected one of {SHARED_OUT} or a map. One "
            "device is named by device=."
        )
    places = device_map.items() if isinstance(device_map, Mapping) else ()
    empty = [part for part, place in places if str(place) == "meta"]
    if empty:
        raise ValueError(
            f"load: got device_map={device_map!r}, which puts {empty[:4]} on 'meta', expected "
            "devices that hold numbers. Name the CPU or a GPU."
        )
    if n_devices is not None and n_devices < 1:
        raise ValueError(f"load: got n_devices={n_devices}, expected at least 1.")
    if max_memory is not None and device_map is None and (n_devices or 1) < 2:
        raise ValueError(
            f"load: got max_memory={dict(max_memory)} without device_map, expected both. It says "
            "how much of each device a shared-out model may take; add device_map='auto'."
        )
    if device is not None:
        _check_device(device)


def _check_device(device: str | torch.device) -> None:
    try:
        known = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"load: got device={device!r}, expected one that torch knows, such as 'cpu', 'cuda', "
            "'cuda:1' or 'mps'."
        ) from error
    n_gpus = torch.cuda.device_count()
    if known.type == "meta" or (known.type == "cuda" and (known.index or 0) >= n_gpus):
        raise ValueError(
            f"load: got device={device!r} where torch sees {n_gpus} GPUs, expected the CPU or one "
            "of those. Leave device out for the CPU, or install a torch with CUDA."
        )
