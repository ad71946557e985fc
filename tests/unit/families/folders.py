"""Tiny random checkpoints in the layout that each family publishes, written without slm_lens.

Names of files, keys and tokens, sharding and the order of tokens are the published ones; sizes are
not. What is expected of each (partition, prompts) is worked out here by hand, from the ids that the
writer gave.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from chatglm import ChatGLM
from slamkit_folders import byte_tokenizer, write_slamkit_folder
from torch import Tensor
from transformers import (
    AddedToken,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from writing import (
    SIZES,
    hf_model,
    llama_3_tokenizer,
    logits_of,
    own_weights,
    randomise,
    write_bin,
    write_config,
    write_safetensors,
    write_sentencepiece,
)

SPECIALS = {"<|end|>": 0, "<|begin|>": 1, "<|reserved|>": 2}  # of byte_tokenizer
N = 281  # tokens of byte_tokenizer, so the id of the first one that is added
N_BYTE_TEXT = N - 3


@dataclass(frozen=True)
class Published:
    """A written folder, and what is known about it.

    Attributes:
        path: the folder.
        reference: token ids to logits, without slm_lens.
        exact: whether the class is native, so that logits have to be equal.
        d_vocab: rows of the embedding.
        n_text: text rows.
        streams: ids of each stream's units.
        markers: ids of the markers.
        specials: control tokens by written form.
        padding: unused rows.
        load: options that `slm_lens.load` needs for it.
        ids: id of every token by name.
    """

    path: Path
    reference: Callable[[Tensor], Tensor]
    d_vocab: int
    n_text: int
    streams: Mapping[str, range]
    markers: Mapping[str, int] = field(default_factory=dict)
    specials: Mapping[str, int] = field(default_factory=dict)
    padding: tuple[int, ...] = ()
    exact: bool = True
    load: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)


def sims(path: Path) -> Published:
    """Qwen2 base whose embedding was padded: the first units take over rows that were there."""
    made = write_slamkit_folder(path, tied=False, shards="index", tokenizer="bytes", n_units=20)
    config = json.loads((path / "config.json").read_text())
    config["base_config"]["vocab_size"] = N + 10  # tokens and rows of padding
    (path / "config.json").write_text(json.dumps(config))
    return Published(
        path=path,
        reference=logits_of(made.hf_model),
        d_vocab=N + 22,
        n_text=N_BYTE_TEXT,
        streams={"units": range(N, N + 20)},
        markers={"speech": N + 20, "text": N + 21},
        specials=SPECIALS,
    )


def sims_llama(path: Path) -> Published:
    """Tied Llama base, without a tokenizer in the folder."""
    made = write_slamkit_folder(
        path,
        architecture="llama",
        shards="index",
        tokenizer="bytes with bos",
        with_tokenizer=False,
        n_units=500,
    )
    return Published(
        path=path,
        reference=logits_of(made.hf_model),
        d_vocab=N + 502,
        n_text=N_BYTE_TEXT,
        streams={"units": range(N, N + 500)},
        markers={"speech": N + 500, "text": N + 501},
        specials=SPECIALS,
        load={"text_tokenizer": made.text_tokenizer},
    )


def slam(path: Path) -> Published:
    """Tied Qwen2 whose vocabulary was cut down to 2 + units; no tokenizer."""
    made = write_slamkit_folder(path, tokenizer="bytes", with_tokenizer=False, n_units=20)
    model = hf_model(type(made.hf_model.config), type(made.hf_model), 22, tie_word_embeddings=True)
    write_safetensors(path, {f"lm.{k}": v for k, v in own_weights(model).items()})
    config = json.loads((path / "config.json").read_text())
    config["vocab_size"] = 22
    config["base_config"] |= {"vocab_size": N + 10, **SIZES}
    (path / "config.json").write_text(json.dumps(config))
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=22,
        n_text=0,
        streams={"units": range(2, 22)},
        specials={"<PAD>": 0, "<S>": 1},
    )


def twist_opt(path: Path) -> Published:
    """OPT-1.3B style: norms before the blocks, tied, one pickle; the offset is in the config."""
    path.mkdir(exist_ok=True)
    model = hf_model(
        OPTConfig, OPTForCausalLM, 512, ffn_dim=48, word_embed_proj_dim=32, pad_token_id=1
    )
    del model.config.num_key_value_heads  # an OPT's config has no such entry
    write_config(path, model, offset=10)
    write_bin(path, dict(model.state_dict()))
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=512,
        n_text=0,
        streams={"units": range(10, 510)},
        specials={"<pad>": 1, "<bos>": 2},
        padding=(0, *range(3, 10), 510, 511),
    )


def twist_llama(path: Path) -> Published:
    """LLaMA-7B style: untied, pickles in shards, with the rotary buffers that old files keep."""
    path.mkdir(exist_ok=True)
    model = hf_model(LlamaConfig, LlamaForCausalLM, 504, tie_word_embeddings=False)
    write_config(path, model, offset=4)
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in (0, 1)}
    write_bin(path, dict(model.state_dict()) | buffers, n_shards=2)
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=504,
        n_text=0,
        streams={"units": range(4, 504)},
        specials={"<bos>": 1, "<eos>": 2},
        padding=(0, 3),
    )


def spirit_lm(path: Path, *, expressive: bool) -> Published:
    """Llama-2, one pickle, all speech pieces inside ``tokenizer.model``, rows of padding."""
    path.mkdir(exist_ok=True)
    n_pitch, n_style = (64, 100) if expressive else (0, 0)
    pieces = ["[Text]", "[Speech]", *(f"[Hu{u}]" for u in range(501))]
    pieces += [f"[Pi{p}]" for p in range(n_pitch)] + [f"[St{s}]" for s in range(n_style)]
    write_sentencepiece(path, pieces)
    d_vocab = 330 + len(pieces) + 9
    model = hf_model(LlamaConfig, LlamaForCausalLM, d_vocab, tie_word_embeddings=False)
    write_config(path, model)
    write_bin(path, dict(model.state_dict()))
    further = {"style": range(897, 997), "pitch": range(833, 897)} if expressive else {}
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=d_vocab,
        n_text=327,  # without <unk>, <s>, </s>
        streams=further | {"units": range(332, 833)},
        markers={"text": 330, "speech": 331},
        specials={"<unk>": 0, "<s>": 1, "</s>": 2},
        padding=tuple(range(d_vocab - 9, d_vocab)),
    )


def glm_4_voice(path: Path) -> Published:
    """ChatGLM with remote code: fused projections, tiktoken ranks, added tokens with gaps."""
    path.mkdir(exist_ok=True)
    ranks = [bytes([b]) for b in range(256)]
    ranks += [b" t", b"he", b" the", b"ze", b"br", b"zebr", b"zebra", b" zebra", b"li", b"on"]
    lines = [f"{base64.b64encode(token).decode()} {i}" for i, token in enumerate(ranks)]
    (path / "tokenizer.model").write_text("\n".join(lines) + "\n", encoding="ascii")
    named = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>"]
    named += ["<|user|>", "<|assistant|>", "<|observation|>", "<|begin_of_audio|>"]
    named += ["<|end_of_audio|>"]
    ids = {t: 266 + i for i, t in enumerate(named)} | {f"<|audio_{k}|>": 300 + k for k in range(64)}
    decoder = {str(i): {"content": t, "special": True} for t, i in ids.items()}
    settings = {"added_tokens_decoder": decoder, "tokenizer_class": "ChatGLM4Tokenizer"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = {
        "architectures": ["ChatGLMModel"],
        "auto_map": {"AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration"},
        "model_type": "chatglm",
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False,
        "ffn_hidden_size": 48,
        "hidden_size": 32,
        "kv_channels": 8,
        "layernorm_epsilon": 3.90625e-08,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "num_attention_heads": 4,
        "num_layers": 2,
        "original_rope": True,
        "padded_vocab_size": 368,
        "post_layer_norm": True,
        "rmsnorm": True,
        "rope_ratio": 2,
        "seq_length": 128,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 368,
        "eos_token_id": [266, 273, 275],
    }
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = ChatGLM(config)
    randomise(model)
    weights = dict(model.state_dict())
    weights["transformer.rotary_pos_emb.inv_freq"] = torch.ones(2)
    write_safetensors(path, weights, n_shards=4)
    return Published(
        path=path,
        reference=torch.no_grad()(model.eval()),
        exact=False,
        d_vocab=368,
        n_text=266,
        streams={"units": range(300, 364)},
        markers={"speech": 276, "speech_end": 277},
        specials={t: 266 + i for i, t in enumerate(named[:10])},
        padding=(*range(278, 300), *range(364, 368)),
        ids=ids,
    )


def llama_mimi(path: Path) -> Published:
    """Llama-3.2 with four codebooks whose codes take turns; one safetensors file."""
    n_codes = 16
    codes = [f"<{x}_{q}>" for x in range(n_codes) for q in range(4)]
    ids = llama_3_tokenizer(path, [*codes, "<audio>", "</audio>"], special=False)
    model = hf_model(LlamaConfig, LlamaForCausalLM, len(ids), tie_word_embeddings=True)
    write_config(path, model, num_quantizers=4)
    write_safetensors(path, own_weights(model))
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=N + 66,
        n_text=N_BYTE_TEXT,
        streams={
            "units": range(N, N + 64, 4),
            "codebook_1": range(N + 1, N + 64, 4),
            "codebook_2": range(N + 2, N + 64, 4),
            "codebook_3": range(N + 3, N + 64, 4),
        },
        markers={"speech": N + 64, "speech_end": N + 65},
        specials=SPECIALS,
        ids=ids,
    )


def orpheus(path: Path) -> Published:
    """Llama-3.2 with 28,683 custom tokens, the first ten of them control tokens; shards."""
    custom = [f"<custom_token_{n}>" for n in range(10 + 7 * 4096 + 1)]
    # Names of Llama 3 before the custom tokens, which end the vocabulary.
    ids = llama_3_tokenizer(path, ["<|begin_of_text|>", "<|eot_id|>", *custom])
    model = hf_model(LlamaConfig, LlamaForCausalLM, len(ids), tie_word_embeddings=True)
    write_config(path, model)
    write_safetensors(path, own_weights(model), n_shards=2)
    slots = {("units" if s == 0 else f"slot_{s}"): N + 12 + 4096 * s for s in range(7)}
    controls = {f"<custom_token_{n}>": N + 2 + n for n in (0, *range(3, 10), 28_682)}
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=N + 2 + 28_683,
        n_text=N_BYTE_TEXT,
        streams={name: range(first, first + 4096) for name, first in slots.items()},
        markers={"speech": N + 3, "speech_end": N + 4},
        specials=SPECIALS | {"<|begin_of_text|>": N, "<|eot_id|>": N + 1} | controls,
        ids=ids,
    )


def soda(path: Path) -> Published:
    """Qwen3 from scratch; codes are characters from U+E000 on, by codebook."""
    named = ["<|begin_of_text|>", "<|end_of_text|>", "<|text_start|>", "<|text_end|>"]
    named += ["<|audio_start|>", "<|audio_end|>"]
    tokenizer = byte_tokenizer(bos=False, puts_bos=False)
    codes = [chr(0xE000 + k) for k in range(8 * 2048)]
    whole: list[str | AddedToken] = [
        *(AddedToken(t, special=True, normalized=False) for t in named),
        *(AddedToken(t, special=False, normalized=False) for t in codes),
    ]
    tokenizer.add_tokens(whole)
    tokenizer.save_pretrained(path)
    d_vocab = N + 6 + 16_384 + 6
    model = hf_model(Qwen3Config, Qwen3ForCausalLM, d_vocab, tie_word_embeddings=False, head_dim=8)
    write_config(path, model)
    write_safetensors(path, own_weights(model))
    books = {("units" if q == 0 else f"codebook_{q}"): N + 6 + 2048 * q for q in range(8)}
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=d_vocab,
        n_text=N_BYTE_TEXT,
        streams={name: range(first, first + 2048) for name, first in books.items()},
        markers={"speech": N + 4, "speech_end": N + 5, "text": N + 2, "text_end": N + 3},
        specials=SPECIALS | {"<|begin_of_text|>": N, "<|end_of_text|>": N + 1},
        padding=tuple(range(d_vocab - 6, d_vocab)),
    )


def ichigo(path: Path) -> Published:
    """Llama-3.1 with 512 sound tokens; shards."""
    sounds = [f"<|sound_{k:04d}|>" for k in range(512)]
    ids = llama_3_tokenizer(path, [*sounds, "<|sound_start|>", "<|sound_end|>"])
    model = hf_model(LlamaConfig, LlamaForCausalLM, len(ids) + 1, tie_word_embeddings=False)
    write_config(path, model)
    write_safetensors(path, own_weights(model), n_shards=4)
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=N + 515,
        n_text=N_BYTE_TEXT,
        streams={"units": range(N, N + 512)},
        markers={"speech": N + 512, "speech_end": N + 513},
        specials=SPECIALS,
        padding=(N + 514,),
    )


def speech_gpt(path: Path) -> Published:
    """LLaMA with units in ``added_tokens.json`` beside ``tokenizer.model``; pickles in shards."""
    path.mkdir(exist_ok=True)
    write_sentencepiece(path, [])
    controls = ["[Human]", "[SpeechGPT]", "<eoh>", "<eos>"]
    added = [*(f"<{u}>" for u in range(1000)), "<sosp>", "<eosp>", *controls]
    ids = {t: 330 + i for i, t in enumerate(added)}
    (path / "added_tokens.json").write_text(json.dumps(ids), encoding="utf-8")
    model = hf_model(LlamaConfig, LlamaForCausalLM, 1336, tie_word_embeddings=False)
    write_config(path, model)
    write_bin(path, dict(model.state_dict()), n_shards=3)
    return Published(
        path=path,
        reference=logits_of(model),
        d_vocab=1336,
        n_text=327,
        streams={"units": range(330, 1330)},
        markers={"speech": 1330, "speech_end": 1331},
        specials={"<unk>": 0, "<s>": 1, "</s>": 2} | {t: ids[t] for t in controls},
    )


WRITERS: dict[str, tuple[str, Callable[[Path], Published]]] = {
    "SIMS, Qwen2 base": ("sims", sims),
    "SIMS, Llama base": ("sims", sims_llama),
    "Slam": ("slam", slam),
    "TWIST, OPT": ("twist", twist_opt),
    "TWIST, Llama": ("twist", twist_llama),
    "Spirit LM base": ("spirit-lm", lambda path: spirit_lm(path, expressive=False)),
    "Spirit LM expressive": ("spirit-lm", lambda path: spirit_lm(path, expressive=True)),
    "GLM-4-Voice": ("glm-4-voice", glm_4_voice),
    "Llama-Mimi": ("llama-mimi", llama_mimi),
    "Orpheus": ("orpheus", orpheus),
    "SODA": ("soda", soda),
    "Ichigo": ("ichigo", ichigo),
    "SpeechGPT": ("speech-gpt", speech_gpt),
}
