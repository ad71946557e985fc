"""Changes to the files of a published folder."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import WRITERS
from safetensors.torch import load_file, save_file
from torch import Tensor

LARGE = ("Orpheus", "SODA")  # their tokenizers take about a second to read
SMALL = [layout for layout in WRITERS if layout not in LARGE]


def over(layouts: Iterable[str]) -> pytest.MarkDecorator:
    """A test of every one of some layouts."""
    slow = pytest.mark.slow
    marked = [pytest.param(la, marks=slow) if la in LARGE else la for la in layouts]
    return pytest.mark.parametrize("layout", marked)


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the object in a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def lm_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of ``config.json`` that says what the language model is."""
    return config.get("base_config", config)


def weight_files(folder: Path) -> list[Path]:
    """Its safetensors, or its pickles."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of one weight file."""
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path)


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Tensors as a weight file of the kind that the name says."""
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)


def edit_weights(folder: Path, change: Callable[[str, Tensor], Tensor]) -> None:
    """Replace every tensor by what `change` makes of its name and value."""
    for path in weight_files(folder):
        weights = {n: change(n, w).contiguous() for n, w in read_weights(path).items()}
        write_weights(path, weights)


def is_embedding(name: str) -> bool:
    """Whether a weight is the embedding, under the name of any layout."""
    return name.endswith(("embed_tokens.weight", "word_embeddings.weight"))
