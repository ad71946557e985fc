"""A random Qwen2 with a vocabulary of text and units, and the memory of a process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

N_UNITS = 500


@dataclass(frozen=True)
class Size:
    """Of the random model and of its input."""

    d_model: int
    n_layers: int
    d_vocab: int
    n_positions: int


def make_model(size: Size, *, n_heads: int, mlp_ratio: int) -> Any:
    """A random Qwen2 with a vocabulary: text ``w0``, ``w1`` ..., then units, then two markers."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from slm_lens import HookedSLM, PromptFormat, SpeechTextVocab
    from slm_lens.families.checkpoint import Checkpoint

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.d_vocab,
        hidden_size=size.d_model,
        intermediate_size=mlp_ratio * size.d_model,
        num_hidden_layers=size.n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    hf_model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    n_text = size.d_vocab - N_UNITS - 2
    vocab = SpeechTextVocab(
        d_vocab=size.d_vocab,
        text=range(n_text),
        streams={"units": range(n_text, n_text + N_UNITS)},
        markers={"speech": size.d_vocab - 2, "text": size.d_vocab - 1},
        encode_text=lambda written: [int(written.strip()[1:])],
    )
    prompts = PromptFormat(
        before=(), after=(), mark_speech_only=False, mark_text_only=True, repeat_marker=True
    )
    checkpoint = Checkpoint(
        hf_model,
        tokenizer=None,
        prepends_bos=False,
        appends_eos=False,
        vocab=vocab,
        prompt_format=prompts,
        family="random",
    )
    return HookedSLM(checkpoint, name="random", unit_tokenizer=None)


def memory_mb(key: str) -> float:
    """A line of this process's status, in 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"memory_mb: no {key} in /proc/self/status, expected a Linux kernel.")
