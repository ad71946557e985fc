"""From reading to cause: patching, ablation, attribution, tracing, steering.

| file | holds |
|---|---|
| `site.py` | where in the model something is changed |
| `moving.py` | states of one run to the positions of another of other length |
| `matching.py` | which words or units of two runs stand for each other |
| `pairs.py` | two runs that fit |
| `metrics.py` | what of the prediction is measured |
"""
