"""Stored weights: which files, which tensors, and reading one tensor at a time.

Safetensors first; a pickle (``pytorch_model.bin``) only where there is none, and only through
``torch.load(weights_only=True)``, which runs no code of the file. Both are memory-mapped, so a
tensor that keeps its dtype costs no second copy.
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from slm_lens._json import read_json_object

SHARD = re.compile(r"(?:model|pytorch_model)-(\d+)-of-(\d+)\.(?:safetensors|bin)")
# Index and single file of either kind, the better one first.
LAYOUTS = (
    ("model.safetensors.index.json", "model.safetensors", "model-*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin", "pytorch_model-*.bin"),
)
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that is read when it is needed.

    Attributes:
        shape: its shape.
        dtype: its dtype in the file.
        read: reads it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    def __getitem__(self, _: object) -> Tensor:
        """The whole tensor; transformers asks for ``stored[...]`` when it wants to have it."""
        return self.read()


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder: those of the index, all shards, or the one file.

    Other safetensors files that lie beside the weights (unit centroids) are not touched.

    Raises:
        ValueError: there are no weights, or a shard is missing.
    """
    for index, single, shards in LAYOUTS:
        if (folder / index).is_file():
            files = [folder / name for name in _indexed(folder / index)]
        elif (folder / single).is_file():
            files = [folder / single]
        elif found := [m for p in folder.glob(shards) if (m := SHARD.fullmatch(p.name))]:
            stem, suffix = shards.split("-*")
            width, n_shards = len(found[0][2]), int(found[0][2])
            names = (f"{stem}-{i:0{width}d}-of-{found[0][2]}" for i in range(1, n_shards + 1))
            files = [folder / f"{name}{suffix}" for name in names]
        else:
            continue
        missing = [f.name for f in files if not f.is_file()]
        if missing:
            raise ValueError(
                f"load: {folder} lacks {missing[:8]}, expected all {len(files)} weight files. "
                "Was the download cut short?"
            )
        return files
    raise ValueError(
        f"load: {folder} has no weights, expected model.safetensors, its shards and their index, "
        "or pytorch_model.bin. Was the download cut short?"
    )


def stored_weights(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the folder's weights, not read yet.

    Raises:
        ValueError: a file is missing, damaged, or repeats a tensor.
    """
    weights: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        stored = _in_safetensors(path) if path.suffix == ".safetensors" else _in_pickle(path)
        twice = sorted(weights.keys() & stored.keys())
        if twice:
            raise ValueError(
                f"load: {twice[0]} is in {path.name} and in an earlier file of {folder}, "
                "expected each weight once. Are there two checkpoints in the folder?"
            )
        weights |= stored
    return weights


def stored_dtype(weights: dict[str, StoredTensor]) -> torch.dtype:
    """The one floating dtype in which the weights are stored."""
    dtypes = {w.dtype for w in weights.values() if w.dtype.is_floating_point}
    if len(dtypes) != 1:
        raise ValueError(
            f"load: the weights are stored as {sorted(map(str, dtypes))}, expected one dtype for "
            "dtype=None. Name the dtype to load them in, e.g. dtype=torch.float32."
        )
    return dtypes.pop()


def _indexed(path: Path) -> list[str]:
    """File names of an index, none of which leaves the folder."""
    weight_map = read_json_object(path).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    odd = [n for n in names if not isinstance(n, str) or not n or Path(n).name != n]
    if not names or odd:
        raise ValueError(
            f"load: {path} names the files {(odd or names)[:4]}, expected a weight_map with names "
            "of files beside it. Was the index edited?"
        )
    return sorted(set(names))


def _in_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        shard = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"load: {path} cannot be read ({error}), expected a whole safetensors file. Was the "
            "download cut short? Get the file again."
        ) from error
    slices = {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118 (not a dict)
    odd = sorted({s.get_dtype() for s in slices.values()} - set(DTYPES))
    if odd:
        raise ValueError(
            f"load: {path} stores tensors as {odd}, expected one of {sorted(DTYPES)}. Quantised "
            "weights are not supported: take the checkpoint in half precision."
        )
    return {
        name: StoredTensor(tuple(s.get_shape()), DTYPES[s.get_dtype()], lambda s=s: s[...])
        for name, s in slices.items()
    }


def _in_pickle(path: Path) -> dict[str, StoredTensor]:
    try:
        stored = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:  # what damaged pickles raise has no common root
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"load: {path} cannot be read without running its code, or is damaged ({said}), "
            "expected a file that torch.save wrote and that holds tensors only. Get the file "
            "again, or convert it to safetensors where you trust its origin."
        ) from error
    if not isinstance(stored, dict) or not all(
        isinstance(name, str) and _is_plain(t) for name, t in stored.items()
    ):
        raise ValueError(
            f"load: {path} holds more or other than tensors of {list(DTYPES.values())}, expected "
            "a state dict of plain tensors. Was a whole model pickled, or are they quantised? "
            "Save its state_dict()."
        )
    return {
        name: StoredTensor(tuple(t.shape), t.dtype, lambda t=t: t) for name, t in stored.items()
    }


def _is_plain(stored: object) -> bool:
    """Whether it is a tensor with a number in the file for each of its entries."""
    return (
        isinstance(stored, Tensor)
        and stored.layout is torch.strided
        and stored.dtype in DTYPES.values()
        and stored.numel() * stored.element_size() <= stored.untyped_storage().nbytes()
    )
