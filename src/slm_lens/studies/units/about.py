"""What the study `units` is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="units",
    question="Units and time: how much speech does a word need?",
    source="Density: Ye et al. 2026, arXiv:2606.12199 (tokens per word, frame rates; text of about "
    "3.3 tokens a second; from a digest, not the paper). That a transcription is built up "
    "gradually: a second-hand note on Sternberg et al. 2026, arXiv:2606.22473. Growing parts of a "
    "word: Grosjean 1980 (gating).",
    reproduced="units per word and second beside text, and recall against frame rate, as measures "
    "of density. No number of a source is reproduced: their models are trained at each rate.",
    chosen="A word is read at the latest unit that had begun when a share of its duration was "
    "heard (single positions), and with the maximum of the logits over its units so far; share 0 "
    "is the position before the word: what was predicted. Layer of a curve: that of the highest "
    "recall at the whole word, chosen on the same words (current word: maximum, next word: last "
    "unit). An MFCC frame looks 112 ms ahead (window and second differences), so shares are a "
    "little generous. At other frame rates the same centroids are used, with the same window and "
    "the same 80 ms of differences: a shift of the model's input, not a model of that rate. Pooled "
    "states are means over windows of time of the states that the model makes of its own units.",
    controls="shuffled words (of other clips) ranked at the same places; units alone: nearest "
    "neighbour of unit histograms over the words of other clips, a lower bound of what the units "
    "hold; share 0: what was predicted before anything was heard. Intervals of curves resample "
    "clips; those of slopes clips and word types, at layers chosen on words of other types: 7 to "
    "8 % of the measures of 60 null models with 12 word types then claim something (the slope at "
    "single positions 7 to 10 %), where with clips alone half did.",
    needs="a folder of clips with word times, and models with text and their unit tokenizer; "
    "re-tokenising at other rates is done for MFCC tokenizers; scikit-learn for --set n_clusters",
    cost="65 s for two models on one core",
    models=("organism", "organism-control"),
    function="slm_lens.studies.units.study:study_units",
)
