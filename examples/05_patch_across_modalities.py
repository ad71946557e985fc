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
relations = ("home",) if options.tiny else slm_lens.RELATIONS
curves: dict[str, dict[str, pl.DataFrame]] = {}
used: dict[str, tuple[slm_lens.RunPair, ...]] = {}
for target in ("speech", "text"):
    of_target = curves.setdefault(f"into a {'spoken' if target == 'speech' else 'written'} run", {})
    for source in ("text", "speech"):
        facts = slm_lens.organism_pairs(model, clean=source, corrupted=target, relations=relations)
        print(f"{source} into {target}: {facts.summary()}")
        used[f"{source} into {target}"] = facts.pairs[:4] if options.tiny else facts.pairs
        patching = slm_lens.patch_pairs(
            model,
            used[f"{source} into {target}"],
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
# The number: what a written word's state does in a spoken run before the middle block.

# %%
with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=2):
    for title, of_target in curves.items():
        for name, table in of_target.items():
            columns = ("layer", "estimate", "low", "high", "p_value", "n_pairs")
            print(title, name, table.select(columns))
middle = model.cfg.n_layers // 2
crossed = curves["into a spoken run"]["from text"]["estimate"].to_list()
print(f"text into speech, recovery before block {middle}: {crossed[middle]:.4f}")
