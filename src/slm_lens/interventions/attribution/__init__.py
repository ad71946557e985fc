"""Attribution patching: what every node and edge would do, from two forwards and one backward.

| file | holds |
|---|---|
| `nodes.py` | scores of embeddings, heads, MLPs, the stream: AtP, AtP*, integrated gradients |
| `_pair_task.py` | one pair of runs, with what moves from one to the other and what is measured |
| `_runs.py` | runs that keep activations, with or without a graph |
| `_places.py` | positions, words, roles: what scores are summed over |
"""
