"""PEFT adapters (LoRA and its kin) on top of a loaded model, merged or live.

A live adapter stays a module of its own inside the layers that it changes, so it can be hooked,
switched off and compared; merged weights run as fast as without.
"""

import warnings
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from slm_lens._json import read_json_object

PEFT_PREFIX = "base_model.model."


def add_adapter(
    model: PreTrainedModel, folder: Path, *, prefix: str, merge: bool
) -> PreTrainedModel:
    """Put an adapter on a model, with every weight of it accounted for.

    Args:
        model: the model; changed in place.
        folder: where ``adapter_config.json`` and ``adapter_model.safetensors`` are.
        prefix: what stood before the names of the language model's weights when the adapter was
            trained (``lm.`` for slamkit); names without it are taken too.
        merge: add the adapter to the weights, or keep it live.

    Returns:
        The model, in evaluation mode.

    Raises:
        ImportError: peft is not installed.
        ValueError: the folder holds no adapter, or one for another model.
    """
    try:
        from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
    except ImportError as error:
        raise ImportError(
            "load: adapter= needs peft, which is not installed. Run: pip install 'slm-lens[peft]'"
        ) from error
    weights = _adapter_weights(folder, prefix)
    training = model.training
    try:
        with warnings.catch_warnings():  # peft's own use of transformers, nothing a user can mend
            warnings.simplefilter("ignore", FutureWarning)
            config = PeftConfig.from_pretrained(str(folder))
            config.inference_mode = True
            config.base_model_name_or_path = None  # where it was trained; peft warns of others
            peft_model = get_peft_model(model, config)
            result: Any = set_peft_model_state_dict(peft_model, weights)
    except Exception as error:
        raise ValueError(
            f"load: the adapter in {folder} does not fit {type(model).__name__} "
            f"({type(error).__name__}: {error}), expected one that was trained on this model."
        ) from error
    missing = [n for n in result.missing_keys if _is_adapters(n)]
    if missing or result.unexpected_keys:
        raise ValueError(
            f"load: the adapter in {folder} does not fit {type(model).__name__}: missing "
            f"{missing[:4]}, unexpected {result.unexpected_keys[:4]}; expected none of each. Was "
            "it trained on this model?"
        )
    assert isinstance(peft_model, PeftModel)
    if merge:
        _refuse_tied(model, folder)
        _unshare(model)
    inner = peft_model.merge_and_unload() if merge else peft_model.base_model.model
    bare = cast(PreTrainedModel, inner)
    bare.requires_grad_(True)  # peft freezes what it does not train; gradients are for readers too
    return bare.train(training)


def _refuse_tied(model: PreTrainedModel, folder: Path) -> None:
    """Refuse to merge into an embedding that is also the unembedding: it would change both."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if model.config.tie_word_embeddings and any(hasattr(end, "base_layer") for end in ends):
        raise ValueError(
            f"load: the adapter in {folder} changes the embedding or the unembedding, which share "
            "one matrix in this model; expected it live, since merged it would change both. Pass "
            "merge_adapter=False."
        )


def _unshare(model: PreTrainedModel) -> None:
    """Give what is merged into weights of its own: a model in memory keeps what it had."""
    for part in model.modules():
        base = getattr(part, "base_layer", None)
        if base is not None:
            for weight in base.parameters():
                weight.data = weight.data.clone()


def _is_adapters(name: str) -> bool:
    """Whether a weight belongs to the adapter and not to the model under it."""
    return any(part in name for part in (".lora_", ".modules_to_save.", ".ia3_", ".hada_"))


def _adapter_weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The adapter's weights, named as for the bare language model."""
    path = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").is_file() or not path.is_file():
        raise ValueError(
            f"load: {folder} has no adapter_config.json with adapter_model.safetensors, expected "
            "a folder that peft's save_pretrained wrote. Pickled adapters are not read."
        )
    read_json_object(folder / "adapter_config.json")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"load: {path} cannot be read ({error}), expected a whole safetensors file. Was the "
            "download cut short?"
        ) from error
    whole = [f"{n} {w.dtype}" for n, w in weights.items() if not w.is_floating_point()]
    if whole:
        raise ValueError(
            f"load: weights in {path} are stored as whole numbers ({whole[:4]}), expected full or "
            "half precision. Are they quantised? Take the adapter that they were made from."
        )
    wrapped = PEFT_PREFIX + prefix
    return {
        PEFT_PREFIX + n.removeprefix(wrapped) if n.startswith(wrapped) else n: w
        for n, w in weights.items()
    }
