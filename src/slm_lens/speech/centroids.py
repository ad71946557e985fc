"""The centroids of a k-means codebook on disk: safetensors or .npy, never a pickle."""

import pickle
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slm_lens._atomic import written_atomically

CENTROIDS_KEY = "centroids"
"""Name of the tensor in a safetensors file."""

CENTROIDS_FILE = "centroids.safetensors"
"""Name of the file in the folder of a unit tokenizer."""

_PICKLE_STARTS = (b"\x80", b"\x78")
"""First byte of a pickle (protocol 2 and later), and of one that joblib compressed with zlib."""


def load_centroids(path: str | Path) -> Float[Tensor, "n_units d_model"]:
    """Read the centroids of a k-means codebook.

    Args:
        path: a ``.safetensors`` file with the tensor ``centroids``, or a ``.npy`` file.

    Returns:
        One row for each unit, float32.

    Raises:
        ValueError: the file is a pickle or neither of the two formats, lacks the tensor, or does
            not hold two axes of finite floats.
        FileNotFoundError: there is no such file.

    Source:
        Ours.
    """
    path = Path(path)
    where = f"load_centroids: {path}"
    if not path.is_file():
        raise FileNotFoundError(
            f"{where}: got no such file, expected centroids in .safetensors or .npy. Check the "
            "path."
        )
    with path.open("rb") as file:
        looks_pickled = file.read(1) in _PICKLE_STARTS
    if path.suffix not in (".safetensors", ".npy") or looks_pickled:
        raise ValueError(_not_a_centroid_file(path, looks_pickled))
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _load_npy(path)
    except (SafetensorError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{where}: got a file that cannot be read as {path.suffix} ({error}), expected one "
            "array of floats. Write it again from the k-means centroids."
        ) from None
    if CENTROIDS_KEY not in found:
        raise ValueError(
            f"{where}: got tensors {sorted(found)}, expected {CENTROIDS_KEY!r}. Save the centroids "
            f"under that name: `save_file({{'{CENTROIDS_KEY}': tensor}}, path)`."
        )
    return checked_centroids(found[CENTROIDS_KEY], where)


def save_centroids(path: str | Path, centroids: Float[Tensor, "n_units d_model"]) -> None:
    """Write the centroids of a k-means codebook as safetensors, in float32.

    Args:
        path: file to write, ending in ``.safetensors``; an existing one is replaced at once.
        centroids: one row for each unit.

    Raises:
        ValueError: the path has another ending, or the centroids are not finite.

    Source:
        Ours.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"save_centroids: got {path}, expected a path that ends in .safetensors. Change the "
            "ending."
        )
    checked = checked_centroids(centroids, "save_centroids")
    with written_atomically(path) as temporary:
        save_file({CENTROIDS_KEY: checked.cpu().contiguous()}, temporary)


def checked_centroids(
    centroids: Float[Tensor, "..."], where: str
) -> Float[Tensor, "n_units d_model"]:
    """Centroids in float32, or a refusal.

    Args:
        centroids: what should be one row for each unit.
        where: what the message begins with.

    Returns:
        The same numbers in float32.

    Raises:
        ValueError: not two axes, an empty one, or a number that is not finite.
    """
    if centroids.ndim != 2 or 0 in centroids.shape or not torch.isfinite(centroids).all():
        raise ValueError(
            f"{where}: got centroids of shape {tuple(centroids.shape)}, expected finite numbers of "
            "shape (n_units, d_model). For a scikit-learn k-means take `cluster_centers_`."
        )
    return centroids.detach().float()


def nearest_centroid(
    features: Float[Tensor, "n_frames d_model"], centroids: Float[Tensor, "n_units d_model"]
) -> Int[Tensor, " n_frames"]:
    """Index of the nearest centroid (Euclidean) for every frame; the first one at a tie.

    Args:
        features: one vector for each frame.
        centroids: one vector for each unit.

    Returns:
        Unit id of each frame. Distances are taken in float64.

    Source:
        The assignment step of k-means (Lloyd 1982), with ``|x|^2`` left out.
    """
    wide = centroids.double()
    return (wide.square().sum(1) - 2 * features.double() @ wide.T).argmin(1)


def _load_npy(path: Path) -> dict[str, Tensor]:
    """The array under the name that it would have in safetensors.

    Raises:
        ValueError: an archive, a pickle or no floats.
    """
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an .npz archive")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"its dtype is {array.dtype}")
    return {CENTROIDS_KEY: torch.from_numpy(array.astype(np.float32))}


def _not_a_centroid_file(path: Path, looks_pickled: bool) -> str:
    got = "a pickle" if looks_pickled else f"a file ending in {path.suffix!r}"
    return (
        f"load_centroids: got {got} ({path}), expected .safetensors or .npy. Published k-means "
        "files (.bin, .km, .pt, .joblib) are pickles, and unpickling runs code from the file. If "
        f"you trust it: `slm-lens convert-kmeans {path} centroids.safetensors --allow-pickle`."
    )
