"""Reading weights from safetensors files, whole or in shards."""

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder: those of the index, all shards, or the one file.

    Other safetensors files that lie beside the weights (unit centroids) are not touched.

    Raises:
        ValueError: there are no weights, or a shard is missing.
    """
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = [folder / name for name in sorted(set(index["weight_map"].values()))]
    elif (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    else:
        found = [m for m in map(SHARD.fullmatch, sorted(p.name for p in folder.iterdir())) if m]
        if not found:
            raise ValueError(
                f"load: {folder} has no weights, expected model.safetensors, its shards or "
                f"{INDEX}. Pickled weights (pytorch_model.bin) are not read: convert them with "
                "safetensors.torch.save_model where you trust their origin."
            )
        n_shards, width = int(found[0][2]), len(found[0][2])
        names = (f"model-{i:0{width}d}-of-{found[0][2]}" for i in range(1, n_shards + 1))
        files = [folder / f"{name}.safetensors" for name in names]
    missing = [f.name for f in files if not f.is_file()]
    if missing:
        raise ValueError(
            f"load: {folder} lacks {missing}, expected all {len(files)} weight files. Was the "
            "download cut short?"
        )
    return files


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's weights, in the dtype that is on disk."""
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 (not a dict)
                if name in weights:
                    raise ValueError(
                        f"load: {name} is in {path.name} and in an earlier file of {folder}, "
                        "expected each weight once. Are there two checkpoints in the folder?"
                    )
                weights[name] = shard.get_tensor(name)
    return weights


def stored_dtype(weights: dict[str, Tensor]) -> torch.dtype:
    """The one floating dtype in which the weights are stored."""
    dtypes = {w.dtype for w in weights.values() if w.is_floating_point()}
    if len(dtypes) != 1:
        raise ValueError(
            f"load: the weights are stored as {sorted(map(str, dtypes))}, expected one dtype for "
            "dtype=None. Name the dtype to load them in, e.g. dtype=torch.float32."
        )
    return dtypes.pop()
