# %% [markdown]
# # Does the prediction of speech need the latent text?
# One claim: while the model hears a word, middle layers hold the word's text token. Here the
# unembedding rows of that token are projected out of the residual stream at the word's positions,
# one layer at a time, and the units that really follow in the next word are scored. Two controls
# take out as much: random directions, and the rows of other words that are as frequent.

# %%
import argparse
from pathlib import Path

import polars as pl

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="organism", help="or 'organism-control'")
parser.add_argument("--tiny", action="store_true", help="two clips, without intervals")
parser.add_argument("--figure", type=Path, help="where to save the figure, without suffix")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %%
model = slm_lens.load(options.model)
clips = slm_lens.read_utterances(model, "held-out")
ablation = slm_lens.ablate_words(
    model,
    clips[:2] if options.tiny else clips,
    policy=model.word_policy,
    until="end",
    n_draws=1 if options.tiny else 5,
    n_bootstrap=20 if options.tiny else 1000,
)
effects, differences = ablation.effects(), ablation.differences()
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, float_precision=3):
    print(effects)
    print(differences)
