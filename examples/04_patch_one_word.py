# %% [markdown]
# # Patching one spoken word
# One claim: two spoken sentences that differ in one word differ in what the model answers, and
# the state at that word carries the difference through the lower layers, until later layers move it
# to the end of the run, where the answer is read. At each layer and place the clean sentence's
# state goes into the corrupted one; recovery is the share of the logit difference that comes back.

# %%
import argparse
from pathlib import Path
from typing import Any

import polars as pl

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="three pairs, and the residual stream")
parser.add_argument("--figure", type=Path, help="where to save the figure, without suffix")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# "the zebra lives in the ..." and "the tiger lives in the ...", spoken by one voice (extra
# `synth`); only pairs that the model answers rightly on both sides. Their lengths differ: states
# are warped from one word's positions to the other's.

# %%
model = slm_lens.load("organism")
relations = ("home",) if options.tiny else slm_lens.RELATIONS
facts = slm_lens.organism_pairs(model, relations=relations)
pairs = facts.pairs[:3] if options.tiny else facts.pairs
print(facts.summary())

# %% [markdown]
# Denoising of the residual stream, and of what attention and the MLP add to it.

# %%
kinds: dict[Any, str] = {"resid_pre": "residual stream"}
if not options.tiny:
    kinds |= {"attn_out": "attention", "mlp_out": "MLP"}
tables = {
    title: slm_lens.patch_pairs(
        model, pairs, kind, metrics=[slm_lens.logit_difference()], at="roles"
    ).summary("logit_difference", small="leave_out", n_bootstrap=0 if options.tiny else 1000)
    for kind, title in kinds.items()
}
stream = tables["residual stream"]
with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=2):
    print(stream.pivot("role", index="layer", values="estimate"))
if options.figure is not None:
    slm_lens.save_figure(slm_lens.effects_heat_map(tables), options.figure)

# %% [markdown]
# The number: recovery at the end of the run, at the first layer where more of the difference is
# there than at the word.

# %%
word, end = (stream.filter(role=role)["estimate"].to_list() for role in ("changed", "end"))
moved = next(layer for layer, here in enumerate(word) if end[layer] > here)
print(f"recovery at the end of the run, before block {moved}: {end[moved]:.4f}")
