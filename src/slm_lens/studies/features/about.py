"""What the study ``features`` is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="features",
    question="Which features are speech, text, or both?",
    source="Koriagin et al. 2026, arXiv:2606.10029 (read second hand); dictionaries: Bussmann et "
    "al. 2024, arXiv:2412.06410 (BatchTopK), Rajamanoharan et al. 2024, arXiv:2407.14435 "
    "(JumpReLU).",
    reproduced="BatchTopK dictionaries of residual states by layer; a feature's tag by the share "
    "of speech among its 20 positions of highest activation (from 0.8 on speech, up to 0.2 text, "
    "else mixed); the composition by layer; explained variance by modality; dose and response of "
    "steering with features, in units of their usual activation.",
    chosen="Dictionaries of 4 features a dimension with 8 active, trained on some 80,000 "
    "positions, half of them speech (the source: 16,384 features, 50 active, 250 million "
    "positions); a small trainer of our own; tags in a sample of as much speech as text, of other "
    "stories than those trained on; features active at fewer than 20 positions of it are counted "
    "apart; variance about the mean of the modality; a decoder row is added at the last position "
    "of a prompt, where the source changes activations and decodes at all speech positions; "
    "features for steering are those that stand best for the written word that comes next. Words "
    "of features, and features for one word in both modalities, are ours.",
    controls="Tags under shuffled labels of modality; the same dictionaries trained on the model "
    "with random weights; dictionaries of random directions with as many active features; words "
    "shuffled among occurrences, and for features of both modalities another word written; for "
    "steering, other features of the dictionary at the same length. Intervals hold the "
    "dictionaries as they are: at layer 4 of the organism four seeds gave 9 to 16 % of words with "
    "one feature for both modalities, 16 to 26 % of words with one in speech, and 2.8 to 3.6 % "
    "mixed features.",
    needs="A model with text and a unit tokenizer. The organism's dictionaries are trained on its "
    "stories, which espeak-ng speaks (extra synth); for others train_on names a folder of clips "
    "with word times.",
    cost="3 minutes on one core for the organism.",
    models=("organism",),
    function="slm_lens.studies.features.study:study_features",
)
