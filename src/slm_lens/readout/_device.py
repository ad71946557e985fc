"""Which kernel reads on a device, and how much of the logits exists there at a time.

"tiled" is torch, tile by tile, on every device. "triton" is for CUDA (see `_cuda`): taken where
triton is installed and once, on the device at hand, gave what "tiled" gives. Both are exact, so the
choice changes speed, and numbers by the rounding of products at most.
"""

import logging
from functools import cache
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch

Kernel = Literal["tiled", "triton"]

TILE_BYTES = 128 * 2**20
"""Largest tile of float32 logits on a GPU. "triton" holds one, and one of the final layer where
``"kl"`` is wanted; "tiled" about four. Smaller ones would wait for Python to launch the next."""

_INSTALL = "pip install triton (torch for CUDA brings it on Linux)"
_log = logging.getLogger("slm_lens.readout")


class TileSize(NamedTuple):
    """Rows and columns of logits that exist at a time (in each thread, on a CPU)."""

    rows: int
    columns: int


def tile_size(device: torch.device) -> TileSize:
    """Size of a tile on a device.

    Args:
        device: where the unembedding is.

    Returns:
        On a GPU, the largest tiles that keep its cores busy; elsewhere, what fits into the cache
        of a CPU core.
    """
    if device.type == "cuda":
        columns = 8192
        return TileSize(TILE_BYTES // (4 * columns), columns)
    return TileSize(512, 1024)


@cache
def kernel_for(device: torch.device) -> Kernel:
    """The kernel that reads on a device; the first call for a GPU tries it out.

    Args:
        device: where the unembedding is.

    Returns:
        "triton" on a GPU where it works, else "tiled"; on a GPU a warning is logged then, once.
    """
    if device.type != "cuda":
        return "tiled"
    reason = _why_not_triton(device)
    if reason is None:
        return "triton"
    _log.warning(
        "readout: reads on %s without its Triton kernel, which is slower and gives the same "
        "numbers (kernel 'tiled'): %s",
        device,
        reason,
    )
    return "tiled"


def require_triton() -> None:
    """Refuse to go on without triton.

    Raises:
        ImportError: it is not installed.
    """
    if find_spec("triton") is None:
        raise ImportError(f"readout: kernel='triton' needs triton: {_INSTALL}.")


def _why_not_triton(device: torch.device) -> str | None:
    """Why the kernel cannot be used, and what to do; None if it can."""
    if find_spec("triton") is None:
        return f"triton is not installed: {_INSTALL}."
    try:
        from slm_lens.readout._self_check import differences, failures
    except (ImportError, OSError, RuntimeError) as error:
        return f"triton cannot be imported ({error}); reinstall it: {_INSTALL}."
    try:
        found = differences(device)
    except failures() as error:
        return (
            f"it does not run here ({type(error).__name__}: {error}). Triton compiles kernels with "
            "a C compiler and the CUDA driver; see whether Triton's own examples run."
        )
    if found:
        return f"it gave another {' and '.join(found)} in a small test. Please report this."
    return None
