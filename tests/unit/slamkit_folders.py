"""Tiny random models in the folder layout that slamkit publishes, written without slm_lens.

`base_config` is spelled as transformers 4.48 wrote it (``rope_theta``, ``torch_dtype``, the text
vocabulary's size), because published folders are of that age.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

WORDS = ("the", "zebra", "lion", "lives", "in", "desert", "savanna", "is", "striped")
LETTERS = "abdeilnprstvz"
Shards = Literal["one file", "index", "no index"]


@dataclass(frozen=True)
class SlamkitFolder:
    """A written folder, and the plain Hugging Face model whose weights are in it."""

    path: Path
    text_tokenizer: Path
    hf_model: Any
    n_text_tokens: int
    n_units: int
    d_vocab: int


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words with a literal space, and letters: the organism's kind of tokenizer."""
    tokens = ["<pad>", "<eos>", "<unk>"]
    tokens += [f" {w}" for w in WORDS] + [f" {c}" for c in LETTERS] + list(LETTERS)
    model = models.WordPiece(
        {t: i for i, t in enumerate(tokens)}, unk_token="<unk>", continuing_subword_prefix=""
    )
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[a-z]+"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def byte_tokenizer(*, bos: bool, puts_bos: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE, the kind of GPT-2, Qwen and Llama 3; with a bos, put by itself, or none."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|end|>", "<|begin|>", "<|reserved|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=specials,
        show_progress=False,
    )
    backend.train_from_iterator(["the zebra lives in the desert", " the lion"] * 4, trainer)
    if puts_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", 1)]
        )
    names = {"bos_token": "<|begin|>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", **names)


def write_slamkit_folder(
    path: Path,
    *,
    architecture: Literal["qwen2", "llama"] = "qwen2",
    tied: bool = True,
    shards: Shards = "one file",
    tokenizer: Literal["words", "bytes", "bytes with bos", "bytes with unused bos"] = "words",
    with_tokenizer: bool = True,
    n_units: int = 20,
    padding_rows: int = 0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> SlamkitFolder:
    """Write the folder, and beside it the bare text tokenizer that training began with."""
    if tokenizer == "words":
        made = word_tokenizer()
    else:
        made = byte_tokenizer(bos="bos" in tokenizer, puts_bos=tokenizer == "bytes with bos")
    n_text_tokens = len(made)
    text_tokenizer = path / "text_tokenizer"
    made.save_pretrained(text_tokenizer)
    made.add_tokens([*(f"<Un{u}>" for u in range(n_units)), "<speech>", "<text>"])
    if with_tokenizer:
        made.save_pretrained(path)
    d_vocab = len(made) + padding_rows

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2 if architecture == "qwen2" else 4,
        "max_position_embeddings": 128,
        "tie_word_embeddings": tied,
        "rms_norm_eps": 1e-6,
    }
    config_class, model_class = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[architecture]
    theta = 10000.0
    rope = {"rope_type": "default", "rope_theta": theta}
    torch.manual_seed(seed)
    config = config_class(vocab_size=d_vocab, rope_parameters=rope, **sizes)
    hf_model = model_class(config)
    for weight in hf_model.parameters():  # far from the tiny default, so that heads differ
        torch.nn.init.normal_(weight, mean=1.0 if weight.ndim == 1 else 0.0, std=0.25)
        weight.data = weight.data.to(dtype).float()  # what the disk keeps; buffers stay exact
    hf_model = hf_model.eval()
    hf_model.set_attn_implementation("eager")

    weights = {f"lm.{k}": v.to(dtype) for k, v in hf_model.state_dict().items()}
    if tied:
        del weights["lm.lm_head.weight"]
    _write_weights(path, weights, shards)
    base_config = sizes | {
        "model_type": architecture,
        "architectures": [model_class.__name__],
        "vocab_size": n_text_tokens,
        "rope_theta": theta,
        "torch_dtype": "bfloat16",
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "_name_or_path": "a-text-model",
        "transformers_version": "4.48.3",
    }
    outer = {
        "architectures": ["UnitLM"],
        "model_type": "speech_language_model",
        "base_model_name": "a-text-model",
        "base_config": base_config,
        "vocab_size": d_vocab,
        "twist_init": True,
        "use_cache": True,
        "trust_remote_code": True,
        "torch_dtype": "float32",
        "transformers_version": "4.48.3",
    }
    (path / "config.json").write_text(json.dumps(outer, indent=2), encoding="utf-8")
    return SlamkitFolder(path, text_tokenizer, hf_model, n_text_tokens, n_units, d_vocab)


def _write_weights(path: Path, weights: dict[str, torch.Tensor], shards: Shards) -> None:
    weights = {k: v.clone().contiguous() for k, v in weights.items()}
    if shards == "one file":
        save_file(weights, path / "model.safetensors")
        return
    names = sorted(weights)
    parts = [names[0::3], names[1::3], names[2::3]]
    files = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    for file, part in zip(files, parts, strict=True):
        save_file({k: weights[k] for k in part}, path / file)
    if shards == "index":
        where = {k: file for file, part in zip(files, parts, strict=True) for k in part}
        index = {"metadata": {}, "weight_map": where}
        (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
