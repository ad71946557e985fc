"""From a name, a folder or a model in memory to a model with hooks."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from slm_lens.families._hf_model import DeviceMap
from slm_lens.families.assemble import load_checkpoint
from slm_lens.families.family import Family
from slm_lens.families.vocab_spec import VocabSpec
from slm_lens.model._in_memory import bare_model
from slm_lens.model._open import open_checkpoint
from slm_lens.model._placement import make_placement
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.source import find_folder
from slm_lens.speech.units import UnitTokenizer

UNIT_TOKENIZER_FILE = "unit_tokenizer.json"


def load(
    source: str | Path | nn.Module,
    *,
    family: str | Family | type[Family] | None = None,
    vocab_spec: VocabSpec | str | Path | None = None,
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
    unit_tokenizer: UnitTokenizer | str | Path | None = None,
    adapter: str | Path | None = None,
    merge_adapter: bool = True,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device | None = None,
    device_map: DeviceMap | None = None,
    n_devices: int | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    compatibility_mode: bool = False,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> HookedSLM:
    """Load a speech-text model as a TransformerLens model.

    ```python
    model = slm_lens.load("organism")
    logits, cache = model.run_with_cache(model.sequence_from_text("the zebra").tokens[None])
    ```

    The layout is recognised from the files (see ``slm-lens families``). Nothing is unpickled but
    tensors, and no code of a checkpoint is run unless `trust_remote_code` says so.

    Args:
        source: name of an embedded model ("organism", "organism-control"), a folder, a hub id
            ("slprl/SIMS-7B"), or a transformers model in memory, which is left as it is: the
            hooked model shares its weights. A folder of an embedded name is meant by "./organism".
        family: name of the family, or one of your own; None to recognise it.
        vocab_spec: description of the vocabulary, or its YAML file, for a checkpoint of no family.
        text_tokenizer: text tokenizer, its folder or hub id, for a checkpoint without one: that of
            the text model that the training began with. It takes precedence over the folder's.
        unit_tokenizer: what turns sound into units, or its folder; None takes the one in the
            model's folder, if any.
        adapter: folder or hub id of a PEFT adapter (LoRA) to put on top.
        merge_adapter: merge the adapter into the weights, or keep it live as modules of its own.
        dtype: dtype to load the weights in; None keeps the one on disk, without a second copy. A
            model in memory keeps its own: call ``model.to(dtype)`` first.
        device: where to put the model; None for the CPU.
        device_map: how to share the model out over devices ("auto", "balanced", or a map), as in
            transformers; instead of `device`.
        n_devices: how many GPUs to share the model out over; instead of `device_map`.
        max_memory: memory of each device that may be used.
        compatibility_mode: fold and centre the weights as `HookedTransformer` did. This changes
            the residual stream, though not the predictions, and stands in the provenance.
        trust_remote_code: run classes that come with the checkpoint.
        revision: branch, tag or commit on the hub.

    Returns:
        The model, in evaluation mode, with eager attention in its hooked forward.

    Raises:
        LookupError: no embedded model, folder, hub repository or family has this name.
        ImportError: an adapter is wanted and peft is not installed.
        ValueError: the layout is not known, the files are incomplete or damaged, or options
            exclude each other.
        VocabError: tokenizer, unit tokenizer and embedding do not fit together.
    """  # noqa: DOC502 (raised by the parts)
    if adapter is None and not merge_adapter:
        raise ValueError(
            "load: got merge_adapter=False without an adapter, expected adapter= with it."
        )
    if isinstance(source, nn.Module):
        _refuse_for_memory(device, device_map, n_devices, max_memory, revision)
        place, name = bare_model(source), type(source).__name__
        _refuse_dtype(place, dtype)
    else:
        place, name = find_folder(source, revision=revision), str(source)
    files, known = open_checkpoint(
        place, family=family, vocab_spec=vocab_spec, text_tokenizer=text_tokenizer
    )
    checkpoint = load_checkpoint(
        files,
        known,
        make_placement(dtype, device, device_map, n_devices, max_memory),
        adapter=None if adapter is None else find_folder(adapter, option="adapter"),
        adapter_name=None if adapter is None else str(adapter),
        merge_adapter=merge_adapter,
        trust_remote_code=trust_remote_code,
    )
    model = HookedSLM(
        checkpoint, name=name, unit_tokenizer=_unit_tokenizer(unit_tokenizer, files.folder)
    )
    if compatibility_mode:
        model.enable_compatibility_mode(disable_warnings=True)
    return model


def _unit_tokenizer(
    given: UnitTokenizer | str | Path | None, folder: Path | None
) -> UnitTokenizer | None:
    """The one that was given, the one of the folder that was given, or the model's own."""
    beside = folder is not None and (folder / UNIT_TOKENIZER_FILE).is_file()
    if given is None and not beside:
        return None
    if given is None or isinstance(given, str | Path):
        from slm_lens.speech.unit_tokenizers import load_unit_tokenizer

        return load_unit_tokenizer(cast(Path, folder) if given is None else given)
    return given


def _refuse_for_memory(*options: object) -> None:
    if any(option is not None for option in options):
        raise ValueError(
            "load: got device, device_map, n_devices, max_memory or revision for a model in "
            "memory, expected none: it stays where it is. Move it first: model.to(device)."
        )


def _refuse_dtype(model: PreTrainedModel, dtype: torch.dtype | None) -> None:
    """Refuse another dtype than the model's; float32, the default, is not told from no choice."""
    if dtype not in (None, torch.float32, model.dtype):
        raise ValueError(
            f"load: got dtype={dtype} for a model in memory in {model.dtype}, expected none: it "
            "keeps its own. Convert it first: model.to(dtype)."
        )
