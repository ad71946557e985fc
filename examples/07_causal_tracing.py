# %% [markdown]
# # Causal tracing, text to text and speech to text
# One claim to test: a spoken subject is recalled through the same places as a written one. The
# subject's embeddings get noise (three standard deviations, for each modality its own); then one
# clean activation at a time is put back, and the probability of the answer that returns is the
# indirect effect. It is divided by the total effect, which differs between modalities.

# %%
import argparse
from pathlib import Path
from typing import Any

import polars as pl

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="three prompts, two samples of the noise")
parser.add_argument("--figure", type=Path, help="where to save the figure, without suffix")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# The same facts, written and spoken; prompts that the clean model does not answer are left out, as
# in ROME.

# %%
model = slm_lens.load("organism")
relations = ("home",) if options.tiny else slm_lens.RELATIONS
kinds: dict[Any, str] = {
    "resid_post": "stream",
    "mlp_out": "MLPs",
    "attn_out": "attention",
}
tables: dict[str, pl.DataFrame] = {}
for modality in ("text", "speech"):
    pairs = slm_lens.organism_pairs(
        model, clean=modality, corrupted=modality, known="clean", relations=relations
    ).pairs
    runs = slm_lens.subject_runs(pairs[:3] if options.tiny else pairs)
    for kind, title in kinds.items():
        traced = slm_lens.causal_trace(model, runs, kind, n_samples=2 if options.tiny else 10)
        summary = traced.summary(
            "probability",
            value="recovery",
            small="leave_out",
            min_difference=0.1,
            n_bootstrap=0 if options.tiny else 1000,
        )
        tables[f"{modality}: {title}"] = summary
        left_out, noise = traced.n_left_out, dict(traced.sigma)
        print(f"{modality}, {title}: {len(runs)} prompts, {left_out} not answered, noise {noise}")
if options.figure is not None:
    roles = ("subject_first", "subject_middle", "subject_last", "next", "further", "last")
    figure = slm_lens.effects_heat_map(tables, label="share of the total effect", places=roles)
    slm_lens.save_figure(figure, options.figure)

# %% [markdown]
# The number: what the MLPs around the first block give back at a spoken subject's middle.

# %%
with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=2):
    for title, table in tables.items():
        print(title, table.pivot("role", index="layer", values="estimate"))
at_subject = tables["speech: MLPs"].filter(role="subject_middle", layer=0)["estimate"].item()
print(f"share of the total effect, speech, MLPs around block 0: {at_subject:.4f}")
