"""What the study of the organism grid is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="grid",
    question="Does transcription need a text model to begin with, and interleaved documents?",
    source="the ablation of Sternberg et al. 2026, arXiv:2606.22473: {text, random initialisation} "
    "x {speech alone, balanced, interleaved}, there with Llama-3.2.",
    reproduced="the six cells (one interleaving mixture), read by current- and next-word recall, "
    "and by the likelihood of right over wrong spoken facts.",
    chosen="six-layer organisms of 1.2 million weights, with the same optimiser, rows and number "
    "of speech steps in all cells (a cell that begins with text has its text stage before); "
    "recall@k of content words among text rows, pooled as for the headlines of phases, at the "
    "layer where the other half of the utterances is furthest above its control; seeds and "
    "utterances resampled together. Mixture ratios and k of the source are not public.",
    controls="words of other utterances at the same places and layers; for facts, the same two "
    "answers after the prompt of another fact.",
    needs="organisms of a grid: the embedded ones (one seed each), or folders that "
    "`slm-lens organism grid` made, with snapshots for the trajectory.",
    cost="1 minute on 2 cores for the embedded cells; training all of the grid takes hours",
    models=(
        "grid-text-interleaved",
        "grid-text-balanced",
        "grid-text-speech",
        "grid-random-interleaved",
        "grid-random-balanced",
        "grid-random-speech",
    ),
    function="slm_lens.studies.grid.study:study_grid",
)
