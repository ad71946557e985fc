"""From a name or a folder to a model with hooks."""

import difflib
import json
from importlib.resources import files
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from slm_lens.families import slamkit
from slm_lens.model.hooked import HookedSLM
from slm_lens.speech.units import UnitTokenizer

EMBEDDED = ("organism", "organism-control")


def load(
    name_or_folder: str | Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device = "cpu",
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
    unit_tokenizer: UnitTokenizer | None = None,
) -> HookedSLM:
    """Load a speech-text model as a TransformerLens model.

    ```python
    model = slm_lens.load("organism")
    logits, cache = model.run_with_cache(model.sequence_from_text("the zebra").tokens[None])
    ```

    Args:
        name_or_folder: name of an embedded model ("organism", "organism-control"), or a folder
            in the slamkit layout (SIMS). A folder of an embedded name is meant by "./organism".
        dtype: dtype to load the weights in; None keeps the one on disk.
        device: where to put the model.
        text_tokenizer: text tokenizer or its folder, for a checkpoint without one: that of the
            text model that the training began with. It takes precedence over the folder's.
        unit_tokenizer: what turns sound into units; None takes the one in the folder, if any.

    Returns:
        The model, in evaluation mode, with eager attention.

    Raises:
        LookupError: no embedded model and no folder has this name.
        ValueError: the folder is not in a known layout, or incomplete.
        VocabError: tokenizer, unit tokenizer and embedding do not fit together.
    """  # noqa: DOC502 (raised by the parts)
    folder = _folder(name_or_folder)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"load: {folder} has no config.json, expected a folder with a model. Is it one level "
            "deeper?"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != slamkit.MODEL_TYPE:
        raise ValueError(
            f"load: config.json in {folder} has model_type {config.get('model_type')!r}, expected "
            f"{slamkit.MODEL_TYPE!r} (the slamkit layout, e.g. SIMS). Other layouts are not "
            "supported; save the model with slamkit."
        )
    checkpoint = slamkit.load_slamkit(
        folder, config, dtype=dtype, device=device, text_tokenizer=text_tokenizer
    )
    if unit_tokenizer is None and (folder / "unit_tokenizer.json").is_file():
        from slm_lens.speech.unit_tokenizers import load_unit_tokenizer

        unit_tokenizer = load_unit_tokenizer(folder)
    return HookedSLM(checkpoint, name=str(name_or_folder), unit_tokenizer=unit_tokenizer)


def embedded_folder(name: str) -> Path:
    """Folder of a model that ships with the package.

    Args:
        name: one of `EMBEDDED`.

    Returns:
        The folder.

    Raises:
        LookupError: this installation does not have it.
    """
    folder = Path(str(files("slm_lens").joinpath("data", name)))
    if name not in EMBEDDED or not folder.is_dir():
        raise LookupError(
            f"load: the embedded model {name!r} is not in this installation, expected {folder}. "
            "Reinstall slm-lens, or train it: slm-lens organism train."
        )
    return folder


def _folder(name_or_folder: str | Path) -> Path:
    """Folder of an embedded model, or the folder that was named."""
    if name_or_folder in EMBEDDED:
        return embedded_folder(str(name_or_folder))
    folder = Path(name_or_folder)
    if not folder.is_dir():
        near = difflib.get_close_matches(str(name_or_folder), EMBEDDED, n=1)
        raise LookupError(
            f"load: no folder at {str(name_or_folder)!r}, expected a folder or one of the "
            f"embedded models {list(EMBEDDED)}."
            + (f" Did you mean {near[0]!r}?" if near else " Models are not downloaded.")
        )
    return folder
