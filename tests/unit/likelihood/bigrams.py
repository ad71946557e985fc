"""A model whose every next token is known: its attention and MLPs add nothing to the embedding."""

from typing import Any

import torch
from tiny_speech import D_VOCAB, make_vocab, wrap
from torch import nn

# P(column | row) of tokens 0, 1, 2; all others are next to impossible.
NEXT = torch.tensor([[1.0, 2.0, 5.0], [4.0, 2.0, 2.0], [3.0, 3.0, 2.0]]) / 8
NEVER = -60.0  # a logit; D_VOCAB of them add 1e-24 to a sum of 1


def bigram_model() -> Any:
    """Token ``t`` is a unit vector, which the norm makes ``4 e_t`` (the root of 16 coordinates)."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=D_VOCAB,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        tie_word_embeddings=False,
        rms_norm_eps=1e-12,
    )
    config._attn_implementation = "eager"
    hf: Any = Qwen2ForCausalLM(config).eval()
    for layer in hf.model.layers:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    nn.init.ones_(hf.model.norm.weight)
    with torch.no_grad():
        hf.model.embed_tokens.weight.copy_(torch.eye(D_VOCAB, 16))
        hf.lm_head.weight.fill_(NEVER / 4)
        hf.lm_head.weight[:3, :3] = NEXT.T.log() / 4
    return wrap(hf, make_vocab())


def sequence(*tokens: int) -> Any:
    """Token ids with the kinds that the vocabulary gives them, without words."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.vocab import TOKEN_KINDS

    ids = torch.tensor(tokens)
    kinds = tuple(TOKEN_KINDS[k] for k in make_vocab().kind_of[ids].tolist())
    return SpeechTextSequence(ids, kinds, ())
