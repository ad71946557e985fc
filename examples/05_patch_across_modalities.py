# %% [markdown]
# # Patching across modalities
# One claim: the state of a *written* word, put where another word is *spoken*, moves the answer to
# the written word's, in the layers where speech and text share what they hold. For each pair the
# clean run is one sentence, the corrupted run another one with another answer; the changed word's
# state goes from one into the other, mean-pooled, since a written word has one position.

# %%
import argparse
from pathlib import Path

import polars as pl

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="four pairs, without intervals")
parser.add_argument("--figure", type=Path, help="where to save the figure, without suffix")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# Four settings: from which modality the state comes, and into which it goes. All answers are read
# in text. Where both are one modality, it is ordinary patching, and the measure of what can be had.

# %%
model = slm_lens.load("organism")
curves: dict[str, dict[str, pl.DataFrame]] = {}
for target in ("speech", "text"):
    of_target = curves.setdefault(f"into a {'spoken' if target == 'speech' else 'written'} run", {})
    for source in ("text", "speech"):
        facts = slm_lens.organism_pairs(model, clean=source, corrupted=target)
        print(f"{source} into {target}: {facts.summary()}")
        patching = slm_lens.patch_pairs(
            model,
            facts.pairs[:4] if options.tiny else facts.pairs,
            metrics=[slm_lens.logit_difference()],
            at="words",
            fit="mean",
        )
        summary = patching.summary(
            "logit_difference", small="leave_out", n_bootstrap=0 if options.tiny else 1000
        )
        of_target[f"from {source}"] = summary.filter(role="changed")
if options.figure is not None:
    figure = slm_lens.effects_curves(curves, label="recovery of the logit difference")
    slm_lens.save_figure(figure, options.figure)

# %% [markdown]
# The number: at which layer a written word's state does most in a spoken run, and how much.

# %%
crossed = curves["into a spoken run"]["from text"]
best = crossed.row(crossed["estimate"].arg_max() or 0, named=True)
print(f"text into speech, recovery at layer {best['layer']}: {best['estimate']:.2f}")
with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=2):
    for title, of_target in curves.items():
        for name, table in of_target.items():
            print(
                title, name, table.select("layer", "estimate", "low", "high", "p_value", "n_pairs")
            )
