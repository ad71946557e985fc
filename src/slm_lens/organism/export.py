"""Write a trained organism as a checkpoint folder in the slamkit interleaved layout."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Qwen2ForCausalLM

from slm_lens._atomic import write_atomically
from slm_lens.families.vocab_spec import FILE_NAME, StreamSpec, VocabSpec
from slm_lens.organism.corpus import N_UNITS
from slm_lens.organism.tokenizer import n_text_tokens, speech_text_tokenizer
from slm_lens.speech.mfcc import MfccKMeans


def export_organism(
    model: Qwen2ForCausalLM, unit_tokenizer: MfccKMeans, folder: Path, *, card: dict[str, Any]
) -> None:
    """Write a folder that ``slm_lens.load`` reads.

    Args:
        model: the trained model, with its vocabulary extended.
        unit_tokenizer: what its units were made with.
        folder: created if missing; files in it are replaced one at a time.
        card: what the model can do; written as ``card.json``.

    Source:
        slamkit's ``UnitLM`` checkpoints (Maimon et al. 2025, arXiv:2504.02398).
        ``config.json`` keeps the *text* vocabulary's size in ``base_config`` and the real one at
        its top; weights carry the prefix ``lm.``. The layout is read as of 25 Hz; units of another
        frame rate are described in ``slm_lens.yaml`` beside the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _slamkit_config(model))
    weights = {
        f"lm.{name}": tensor.detach().to(torch.float16).contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    write_atomically(
        folder / "model.safetensors",
        lambda part: save_file(weights, part, metadata={"format": "pt"}),
    )
    speech_text_tokenizer(N_UNITS).save_pretrained(folder)
    unit_tokenizer.save(folder)
    if unit_tokenizer.frame_rate_hz != MfccKMeans.frame_rate_hz:
        write_atomically(folder / FILE_NAME, _described(unit_tokenizer).write)
    _write_json(folder / "card.json", card)


def _described(unit_tokenizer: MfccKMeans) -> VocabSpec:
    """The vocabulary of the slamkit interleaved layout, at another frame rate."""
    units = StreamSpec(
        pattern="<Un{unit}>",
        frame_rate_hz=unit_tokenizer.frame_rate_hz,
        deduplicated=unit_tokenizer.dedup,
    )
    return VocabSpec(
        streams={"units": units},
        markers={"speech": "<speech>", "text": "<text>"},
        mark_text_only=True,
        repeat_marker=True,
        base_rows=n_text_tokens(),
        family="sims",
    )


def _slamkit_config(model: Qwen2ForCausalLM) -> dict[str, Any]:
    base = model.config.to_diff_dict()
    base.pop("transformers_version", None)
    rope = base.pop("rope_parameters", None) or {"rope_theta": 10000.0}
    base |= {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "rope_theta": rope["rope_theta"],
        "tie_word_embeddings": True,
        "vocab_size": n_text_tokens(),
    }
    return {
        "architectures": ["UnitLM"],
        "model_type": "speech_language_model",
        "base_model_name": "slm-lens/organism-text",
        "base_config": base,
        "vocab_size": model.config.vocab_size,
        "max_position_embeddings": model.config.max_position_embeddings,
        "twist_init": True,
        "torch_dtype": "float16",
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
