# %% [markdown]
# # Does the prediction of speech need the latent text?
# One claim to test: middle layers hold the text token of the word that is heard, and the speech
# that follows depends on it. The directions that the final norm and the unembedding read for that
# token are projected out of the residual stream from the word on, one layer at a time, and the
# units that really follow are scored. Two controls take out as many directions: random ones, and
# those of other words that are as frequent.

# %%
import argparse
from pathlib import Path

import polars as pl

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="one clip, model, layer and draw")
parser.add_argument("--figure", type=Path, help="where to save the figure, without suffix")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# The organism, and the control that was taught to write what it hears: in it the latent text is
# certain to be there, at layer 3.

# %%
panels: dict[str, dict[str, pl.DataFrame]] = {}
of_word: dict[str, pl.DataFrame] = {}
middle = 4  # of 8 blocks
for name in ("organism",) if options.tiny else ("organism", "organism-control"):
    model = slm_lens.load(name)
    clips = slm_lens.read_utterances(model, "held-out")
    ablation = slm_lens.ablate_words(
        model,
        clips[:1] if options.tiny else clips[:12],
        policy=model.word_policy,
        layers=[middle] if options.tiny else None,
        until="end",
        n_draws=1 if options.tiny else 3,
        n_bootstrap=20 if options.tiny else 1000,
    )
    after = ablation.effects().filter(metric="units_after")
    panels[name] = {
        directions.replace("_", " "): after.filter(directions=directions)
        for directions in ("word", "random", "frequency_matched")
    }
    of_word[name] = ablation.differences().filter(
        metric="units_after", directions="word", control="frequency_matched"
    )
if options.figure is not None:
    figure = slm_lens.effects_curves(
        panels, value="effect", label="change of log p of later units, nats"
    )
    slm_lens.save_figure(figure, options.figure)

# %% [markdown]
# The number: what taking out the word at the organism's middle block costs beyond taking out other
# words of its frequency.

# %%
with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=4):
    for name, table in of_word.items():
        print(name, table.select("layer", "difference", "low", "high", "p_value", "n_words"))
difference = of_word["organism"].filter(layer=middle)["difference"].item()
print(f"word minus matched words after block {middle}, nats: {difference:.4f}")
