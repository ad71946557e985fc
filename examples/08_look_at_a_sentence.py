# %% [markdown]
# # Looking at a spoken sentence
# One claim: in a model that was taught to write what it hears, the text token of a spoken word is
# the likeliest of all text tokens at the word's own units, in the third of eight layers. The lens
# grid shows it word by word; the page shows sound, units, grid, attention and attribution of the
# same sentence, linked.

# %%
import argparse
from pathlib import Path

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="no attention, no attribution")
parser.add_argument("--figure", type=Path, help="where to save the grid, without suffix")
parser.add_argument("--page", type=Path, help="where to save the page, such as sentence.html")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# The first held-out clip, with the times of its words.

# %%
model = slm_lens.load("organism-control")
clip, words = slm_lens.clips_of("held-out")[0]
found = slm_lens.explore(
    model,
    clip,
    alignment=words,
    attention=None if options.tiny else "all",
    attribute=None if options.tiny else "predicted",
)
found  # in a notebook: the page  # noqa: B018  # pyright: ignore[reportUnusedExpression]

# %% [markdown]
# The grid as a figure for a paper, and the page as one file.

# %%
if options.figure is not None:
    chart = slm_lens.lens_grid_figure(found.grid, words=range(10))
    slm_lens.save_figure(chart, options.figure)
if options.page is not None:
    slm_lens.exploration_page(found).save(options.page)

# %% [markdown]
# The number: the share of words whose likeliest text token at layer 3 is the word itself, by the
# largest logit over the word's positions.

# %%
cells = found.grid.to_frame().filter(site="max", layer=3).drop_nulls("rank_current_text")
share = (cells["rank_current_text"] == 1).mean()
print(f"words that come first in text at layer 3, of {len(cells)}: {share:.4f}")
