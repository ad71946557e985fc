"""Attribution patching: what every node and edge would do, from two forwards and one backward.

| file | holds |
|---|---|
| `nodes.py`, `node_result.py` | scores of embeddings, heads, MLPs, the stream |
| `qk_fix.py`, `_steps.py` | queries and keys through the softmax; integrated gradients |
| `graph.py` | who writes into the residual stream and who reads it |
| `edges.py`, `edge_result.py` | scores of edges; `_writers.py` and `_readers.py` have both ends |
| `path_patching.py`, `_paths.py` | senders' outputs into receivers, really |
| `circuits.py`, `_circuit_run.py` | how faithful a set of edges is |
| `direct.py`, `direct_result.py`, `_sources.py` | what each part adds to the logits, word by word |
| `logit_directions.py` | which difference of logits is divided |
| `verify.py`, `_top.py` | largest scores beside what really happens |
| `_pair_task.py`, `_target_runs.py`, `_runs.py` | a pair's runs: what moves, what is measured |
| `_places.py` | positions, words, roles: what scores are summed over |
"""
