"""Parts of a checkpoint folder, written as the published ones are, without slm_lens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from slamkit_folders import byte_tokenizer
from torch import Tensor
from transformers import AddedToken

SENTENCES = ["the zebra lives in the desert", "the lion is striped", "a lion lives in the savanna"]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights far from the tiny default, so that heads differ and errors show."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        mean = 1.0 if weight.ndim == 1 else 0.0
        weight.data = mean + 0.25 * torch.randn(weight.shape, generator=generator)


def hf_model(config_class: type, model_class: type, d_vocab: int, **options: Any) -> Any:
    """A tiny Hugging Face model with eager attention."""
    model = model_class(config_class(vocab_size=d_vocab, **(SIZES | options)))
    randomise(model)
    model.set_attn_implementation("eager")
    return model.eval()


def logits_of(model: Any) -> Callable[[Tensor], Tensor]:
    """The model's logits without gradients."""

    @torch.no_grad()
    def run(tokens: Tensor) -> Tensor:
        return model(tokens).logits

    return run


def write_config(path: Path, model: Any, **further: Any) -> None:
    """``config.json`` as the checkpoint's age wrote it: dtype under the old name, rope_theta."""
    entries = model.config.to_dict() | {"architectures": [type(model).__name__]} | further
    rope = entries.pop("rope_parameters", None)
    if rope:
        entries |= {"rope_theta": rope["rope_theta"]}
    entries["torch_dtype"] = "bfloat16"
    entries.pop("dtype", None)
    (path / "config.json").write_text(json.dumps(entries), encoding="utf-8")


def write_safetensors(path: Path, weights: dict[str, Tensor], n_shards: int = 1) -> None:
    """One file, or shards with their index."""
    weights = {k: v.detach().clone().contiguous() for k, v in weights.items()}
    if n_shards == 1:
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        return
    where = {}
    for i in range(n_shards):
        part = {k: weights[k] for k in sorted(weights)[i::n_shards]}
        file = f"model-{i + 1:05d}-of-{n_shards:05d}.safetensors"
        save_file(part, path / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_bin(path: Path, weights: dict[str, Tensor], n_shards: int = 1) -> None:
    """Pickles: one file, or shards with their index."""
    weights = {k: v.detach().clone() for k, v in weights.items()}
    if n_shards == 1:
        torch.save(weights, path / "pytorch_model.bin")
        return
    where = {}
    for i in range(n_shards):
        part = {k: weights[k] for k in sorted(weights)[i::n_shards]}
        file = f"pytorch_model-{i + 1:05d}-of-{n_shards:05d}.bin"
        torch.save(part, path / file)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": where}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def own_weights(model: Any) -> dict[str, Tensor]:
    """State dict without the head of a tied model, as save_pretrained leaves it out."""
    weights = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return weights


def write_sentencepiece(path: Path, symbols: list[str], vocab_size: int = 330) -> None:
    """``tokenizer.model`` as Llama-2 has it (BPE with byte fallback), then further symbols."""
    text = path / "sentences.txt"
    text.write_text("\n".join(SENTENCES * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(path / "tokenizer"),
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        minloglevel=2,
    )
    proto = _proto((path / "tokenizer.model").read_bytes())
    for symbol in symbols:  # behind the text pieces, where the published ids are
        proto.pieces.add(piece=symbol, score=0.0, type=4)
    (path / "tokenizer.model").write_bytes(proto.SerializeToString())
    text.unlink()
    (path / "tokenizer.vocab").unlink()
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (path / "special_tokens_map.json").write_text(json.dumps(named), encoding="utf-8")
    settings = named | {"tokenizer_class": "LlamaTokenizer", "legacy": True}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _proto(content: bytes) -> Any:
    from transformers.convert_slow_tokenizer import import_protobuf

    pb2: Any = import_protobuf()
    proto = pb2.ModelProto()
    proto.ParseFromString(content)
    return proto


def llama_3_tokenizer(path: Path, added: list[str], *, special: bool = True) -> dict[str, int]:
    """A byte-level tokenizer with a bos that it puts by itself, and added tokens; saved."""
    tokenizer = byte_tokenizer(bos=True, puts_bos=True)
    whole: list[str | AddedToken] = [
        AddedToken(t, special=special, normalized=False) for t in added
    ]
    tokenizer.add_tokens(whole)
    tokenizer.save_pretrained(path)
    return tokenizer.get_vocab()
