"""Any checkpoint that `load` takes, as a plain Hugging Face folder.

What comes out needs neither slm-lens nor remote code: weights under the names of the class that
transformers has (GLM-4-Voice's ChatGLM becomes ``GlmForCausalLM``, slamkit's wrapper is taken off,
pickles become safetensors, an adapter is merged), and a ``tokenizer.json`` that knows units and
markers. ``slm_lens.yaml`` beside them describes the vocabulary, so that `load` divides it and
writes prompts as before.
"""

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerFast

from slm_lens._atomic import folder_written_atomically
from slm_lens.families._hf_model import Placement, no_progress_bar
from slm_lens.families.assemble import load_checkpoint
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.described import Described
from slm_lens.families.family import Family
from slm_lens.families.vocab_spec import FILE_NAME, VocabSpec
from slm_lens.model._open import open_checkpoint
from slm_lens.model.source import find_folder
from slm_lens.speech.unit_tokenizers import UNIT_TOKENIZER_FILE, load_unit_tokenizer

SHARD_SIZE = "5GB"


def convert_checkpoint(
    source: str | Path,
    out: str | Path,
    *,
    family: str | Family | type[Family] | None = None,
    vocab_spec: VocabSpec | str | Path | None = None,
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
    adapter: str | Path | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
) -> Path:
    """Write a checkpoint as a plain Hugging Face folder, in safetensors shards.

    ``load(out)`` and ``AutoModelForCausalLM.from_pretrained(out)`` then give the logits of
    ``load(source)``, and the former the same vocabulary and prompts.

    Args:
        source: embedded name, folder or hub id, as in `load`.
        out: folder to write; it may exist if it is empty. Complete or not there at all.
        family: as in `load`.
        vocab_spec: as in `load`.
        text_tokenizer: as in `load`.
        adapter: folder or hub id of a PEFT adapter to merge into the weights.
        dtype: dtype to write the weights in; None keeps the one on disk.
        revision: as in `load`.

    Returns:
        The folder.

    Raises:
        FileExistsError: there is something at `out` already.
        LookupError: as in `load`.
        ImportError: as in `load`.
        ValueError: as in `load`.
        VocabError: as in `load`.
    """  # noqa: DOC502 (most are raised by the parts)
    out = Path(out)
    _refuse_existing(out)
    files, known = open_checkpoint(
        find_folder(source, revision=revision),
        family=family,
        vocab_spec=vocab_spec,
        text_tokenizer=text_tokenizer,
    )
    checkpoint = load_checkpoint(
        files,
        known,
        Placement(dtype, {"": "cpu"}),
        adapter=None if adapter is None else find_folder(adapter, option="adapter"),
    )
    with folder_written_atomically(out) as part:
        _write(checkpoint, part, origin=str(source))
        assert files.folder is not None
        if (files.folder / UNIT_TOKENIZER_FILE).is_file():
            unit_tokenizer = cast(Any, load_unit_tokenizer(files.folder))
            unit_tokenizer.save(part)  # with its encoder; every kind has it
    return out


def _refuse_existing(out: Path) -> None:
    in_the_way = any(out.iterdir()) if out.is_dir() else out.exists()
    if in_the_way or out.is_symlink():
        raise FileExistsError(
            f"convert_checkpoint: got out={str(out)!r}, where something is already; expected a "
            "new or an empty folder. Choose another name, or remove it first."
        )


def _write(checkpoint: Checkpoint, folder: Path, *, origin: str) -> None:
    """Model, tokenizer and description."""
    assert checkpoint.spec is not None
    with no_progress_bar():
        checkpoint.hf_model.save_pretrained(folder, max_shard_size=SHARD_SIZE)
    if checkpoint.tokenizer is not None:
        checkpoint.tokenizer.save_pretrained(folder)
    path = folder / FILE_NAME
    family = None if checkpoint.family == Described.name else checkpoint.family
    replace(checkpoint.spec, family=family).write(path)
    about = {"source": origin, "adapter": checkpoint.adapter, "slm-lens": version("slm-lens")}
    comment = "".join(f"# {key}: {json.dumps(value)}\n" for key, value in about.items() if value)
    path.write_text(f"# Written by slm-lens convert.\n{comment}{path.read_text('utf-8')}", "utf-8")
