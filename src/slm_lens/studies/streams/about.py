"""What the study `streams` is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="streams",
    question="Perceiving or generating? Affinity and inertia in a single stream",
    source="Chang et al. 2026, arXiv:2606.11386 (affinities, state inertia, perception vector, in "
    "full-duplex models with a stream for the user and one for the model).",
    reproduced="affinities as lens probabilities of what is heard and of what is said, by layer "
    "and time around an interruption (their Eqs. 4, 5); the vector from generating to perceiving "
    "states (Eq. 6), added from the interruption on with a strength that falls to 0 over 3 "
    "positions (Eq. 7), swept over layers and strengths; recovery as a ratio of means.",
    chosen="Interleaved models have one stream, so an interruption is here a switch of modality: "
    "the model is in the middle of a text, and speech begins. Not transferred, since there is "
    "nothing like it: two streams at once, speech over speech, wall-clock time while the model "
    "speaks, dialogues of turns, and their zero-shot benchmark with a judge. Perception is the "
    "affinity to the text of the word that is heard (theirs: the next audio token of the user), "
    "generation that to the next word, the next unit and the model's own first token, and for "
    "inertia to the word that the model was about to write. By default only switches count at "
    "which that is another word than the one that is heard. The band of layers is theirs in depth "
    "(12 to 24 of 32); thresholds are quantiles (theirs are not known to us); the vector of a clip "
    "is fitted on the other half of the clips, and so are the layer and strength of the table "
    "chosen. The words before a switch are those of the same clip, written, or spoken in the "
    "uninterrupted run, or left out (alone), and the same units follow; a text lacks the voice, so "
    "next units cost more after it without any inertia. A lag counts positions until what is heard "
    "is ahead of the old plan (2 in a row); theirs is read off mean curves.",
    controls="perception: words of other clips at the same place; inertia: the same units after "
    "speech and after nothing (a word takes time to be heard in any case), and another word in "
    "place of the one that is heard; steering: random vectors of the same norm at the same layers "
    "and strengths, and the opposite vector at its own. Intervals of affinities and lags resample "
    "clips and word types: of 100 models with random weights 2 claimed that the heard word is more "
    "or less probable than another one, 3 that a text delays it against speech, 2 against nothing; "
    "but 8 and 11 that old plan or text mass differ by what came before, as they may in any model.",
    needs="a folder of clips with word times, and models with text and their unit tokenizer",
    cost="75 s for two models on one core",
    models=("organism", "organism-control"),
    function="slm_lens.studies.streams.study:study_streams",
)
