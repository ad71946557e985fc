"""Sparse autoencoders made and read by SAELens itself. Does not import slm_lens.

SAELens needs transformer-lens < 4, so this runs in an environment of its own:

    python -m venv saelens && saelens/bin/pip install torch==2.13.0 sae-lens==6.54.12
    saelens/bin/python tests/oracles/saelens_sae.py make tests/golden/saelens
    saelens/bin/python tests/oracles/saelens_sae.py read FOLDER

``make`` writes a BatchTopK autoencoder as SAELens keeps it after training (``cfg.json``,
``sae_weights.safetensors``) and ``numbers.json``: some states, and what SAELens encodes and decodes
of them. ``read`` does the same for a folder that holds an autoencoder already, such as one that
slm-lens wrote: it writes ``numbers.json`` beside it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import (  # pyright: ignore[reportMissingImports] (in an environment of its own)
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    __version__,
)

D_IN, D_SAE, N_STATES, SEED = 32, 48, 5, 0


def numbers(sae, d_in):
    """States, and what the autoencoder makes of them, as JSON values."""
    states = torch.from_numpy(np.random.default_rng(SEED).normal(size=(N_STATES, d_in))).float()
    with torch.no_grad():
        encoded = sae.encode(states)
        decoded = sae.decode(encoded)
    return {
        "sae_lens": __version__,
        "architecture": sae.cfg.architecture(),
        "states": states.tolist(),
        "encoded": encoded.tolist(),
        "decoded": decoded.tolist(),
    }


def make(folder):
    """A BatchTopK autoencoder with random weights, kept as SAELens does after training."""
    rng = np.random.default_rng(SEED + 1)
    config = BatchTopKTrainingSAEConfig(
        d_in=D_IN, d_sae=D_SAE, k=6, rescale_acts_by_decoder_norm=False
    )
    config.metadata.model_name = "tiny"
    config.metadata.hook_name = "blocks.1.hook_resid_pre"
    trained = BatchTopKTrainingSAE(config)
    with torch.no_grad():
        for weight in (trained.W_enc, trained.b_enc, trained.W_dec, trained.b_dec):
            drawn = rng.normal(scale=0.3, size=tuple(weight.shape))
            weight.copy_(torch.from_numpy(np.round(drawn, 3)))
        trained.topk_threshold.fill_(1.25)
    trained.save_inference_model(folder)
    write(folder, SAE.load_from_disk(folder))


def write(folder, sae):
    """Put the numbers beside the autoencoder."""
    text = json.dumps(numbers(sae, sae.cfg.d_in), indent=1)
    (folder / "numbers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    command, where = sys.argv[1], Path(sys.argv[2])
    if command == "make":
        make(where)
    else:
        write(where, SAE.load_from_disk(where))
