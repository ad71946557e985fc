"""ChatGLM's forward pass in plain PyTorch, under the names of its published weights.

Written from the published description, without transformers' GLM and without slm_lens, as the
reference that the conversion to ``GlmForCausalLM`` is checked against: RMS norms before attention
and MLP, a fused query-key-value projection with a bias, two key-value groups, rotation of
neighbouring pairs in the first half of each head, a gated MLP whose halves come from one matrix.
"""

from typing import Any

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root mean square norm with a gain."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised input."""
        return self.weight * x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()


class Attention(nn.Module):
    """Grouped-query attention with interleaved rotation."""

    def __init__(self, c: dict[str, Any]) -> None:
        super().__init__()
        self.n_heads, self.n_groups = c["num_attention_heads"], c["multi_query_group_num"]
        self.d_head, self.base = c["kv_channels"], 10_000.0 * c["rope_ratio"]
        width = (self.n_heads + 2 * self.n_groups) * self.d_head
        self.query_key_value = nn.Linear(c["hidden_size"], width, bias=c["add_qkv_bias"])
        self.dense = nn.Linear(self.n_heads * self.d_head, c["hidden_size"], bias=False)

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate pairs (0, 1), (2, 3) ... of the first half of each head by the position."""
        n_rotated = self.d_head // 2
        frequency = self.base ** (-torch.arange(0, n_rotated, 2) / n_rotated)
        angle = torch.arange(x.shape[1])[:, None] * frequency
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        even, odd = x[..., 0:n_rotated:2], x[..., 1:n_rotated:2]
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
        return torch.cat([turned, x[..., n_rotated:]], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Attention output."""
        sizes = [self.n_heads * self.d_head, *[self.n_groups * self.d_head] * 2]
        q, k, v = (
            part.unflatten(-1, (-1, self.d_head))
            for part in self.query_key_value(x).split(sizes, -1)
        )
        repeats = self.n_heads // self.n_groups
        k, v = (part.repeat_interleave(repeats, 2) for part in (self.rotate(k), v))
        scores = torch.einsum("bihd,bjhd->bhij", self.rotate(q), k) / self.d_head**0.5
        future = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        pattern = scores.masked_fill(future, float("-inf")).softmax(-1)
        return self.dense(torch.einsum("bhij,bjhd->bihd", pattern, v).flatten(2))


class Block(nn.Module):
    """One layer."""

    def __init__(self, c: dict[str, Any]) -> None:
        super().__init__()
        size, eps = c["hidden_size"], c["layernorm_epsilon"]
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(size, eps), RMSNorm(size, eps)
        self.self_attention = Attention(c)
        self.mlp = nn.ModuleDict(
            {
                "dense_h_to_4h": nn.Linear(size, 2 * c["ffn_hidden_size"], bias=False),
                "dense_4h_to_h": nn.Linear(c["ffn_hidden_size"], size, bias=False),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Residual stream after the layer."""
        x = x + self.self_attention(self.input_layernorm(x))
        gate, value = self.mlp["dense_h_to_4h"](self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.mlp["dense_4h_to_h"](nn.functional.silu(gate) * value)


class ChatGLM(nn.Module):
    """The language model; state-dict names are the published ones."""

    def __init__(self, c: dict[str, Any]) -> None:
        super().__init__()
        size, rows = c["hidden_size"], c["padded_vocab_size"]
        layers = nn.ModuleList(Block(c) for _ in range(c["num_layers"]))
        encoder = {"layers": layers, "final_layernorm": RMSNorm(size, c["layernorm_epsilon"])}
        self.transformer = nn.ModuleDict(
            {
                "embedding": nn.ModuleDict({"word_embeddings": nn.Embedding(rows, size)}),
                "encoder": nn.ModuleDict(encoder),
                "output_layer": nn.Linear(size, rows, bias=False),
            }
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        x = self.get_submodule("transformer.embedding.word_embeddings")(tokens)
        for block in self.get_submodule("transformer.encoder.layers").children():
            x = block(x)
        x = self.get_submodule("transformer.encoder.final_layernorm")(x)
        return self.get_submodule("transformer.output_layer")(x)
