"""From reading to cause: patching, ablation, attribution, tracing, steering.

| file | holds |
|---|---|
| `site.py` | where in the model something is changed |
| `moving.py` | states of one run to the positions of another of other length |
| `matching.py` | which words or units of two runs stand for each other |
| `pairs.py` | two runs that fit |
| `metrics.py` | what of the prediction is measured |
| `patched_runs.py` | the engine: one run, and batches of copies with patches |
| `patching.py`, `patching_result.py` | pairs, sites, places, metrics; recovery and its statistics |
| `tracing.py`, `tracing_result.py`, `traced_subjects.py` | causal tracing |
| `attribution/` | what nodes and edges would do, to first order; paths, circuits |
| `changing.py` | activations changed while a `with` block lasts |
| `ablation.py` | zero, mean, resample, projecting out |
| `steering.py` | a vector added over a span, with a schedule |
| `directions.py` | vectors: contrasts, words, modalities, random ones |
| `measured_run.py` | a run on which effects are measured |
| `dose_response.py` | effects by strength and layer |
| `steered_generation.py` | units and text that are generated under steering |
| `ablate_words.py`, `word_ablation.py` | speech without the text that is latent in it |
| `head_roles.py` | where heads look from the end of a word |
| `head_ablation.py` | what is lost without some heads |
| `attribution/` | scores of nodes and edges from one gradient; paths, circuits, parts of logits |
"""
