"""A Mimi with random weights; rates and strides of the published one, so 12.5 frames a second."""

import torch
from transformers import MimiConfig, MimiModel


def tiny_mimi(*, codebook_size: int) -> MimiModel:
    """Six codebooks of the given size."""
    torch.manual_seed(0)
    config = MimiConfig(
        hidden_size=16,
        num_filters=2,
        codebook_size=codebook_size,
        codebook_dim=8,
        num_quantizers=6,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        vector_quantization_hidden_dimension=8,
        upsample_groups=16,
    )
    model = MimiModel(config).eval()
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith("embed_sum"):  # codebooks are buffers, and all zero when made
            torch.nn.init.normal_(buffer)
    return model
