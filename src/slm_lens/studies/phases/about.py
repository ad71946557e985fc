"""What the study ``phases`` asks."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="phases",
    question="Do the layers of speech-text models transcribe speech, then predict the next word?",
    source="Sternberg, Maimon and Adi 2026, arXiv:2606.22473 (abstract; details second hand): "
    "'as much as 77%' of the data have the word among the top candidates, a maximum over settings "
    "whose k, model and layer our sources do not name.",
    reproduced="Logit lens on every layer at the positions of each spoken word; logits pooled by "
    "maximum (as reported second hand); recall@k of the current and of the next word; preference "
    "of modalities; a qualitative grid with a build-up of words and acoustic errors.",
    chosen="k is 1, 5 and 10, within text and within everything; the next word is read at the last "
    "position of the word; a hit needs a token that the model's word policy counts as the word; "
    "modality preference is softmax mass, share of top tokens and share of the top ten, all three; "
    "the phase layers are the peaks of recall@5 in text, and the first layer after them from which "
    "on speech has more than half of the mass. Errors have six exclusive classes, in this order: "
    "exact, next word, build-up (a proper beginning of the word), sounds alike (normalised edit "
    "distance of phonemes), semantic neighbour (nearest rows after centring), other.",
    controls="Shuffled words of other clips, frequency-matched words and the same model with "
    "random weights, all at the same layer; the different words permuted, the same way in all "
    "clips, with the layer chosen anew. A recall is called above its controls if the 95 % "
    "interval of its excess over shuffled words (clips resampled) is above 0 and p among "
    "permuted words is at most 0.05: on 60 untrained models that know 12 words (40 clips) "
    "the first condition alone held for 40, both for 4. Shares of errors stand "
    "beside those of permuted words; an error is more frequent if its highest share over layers "
    "is, with p at most 0.05 / 3 (three kinds of errors).",
    needs="models with a text vocabulary, clips with word times; espeak-ng for phonemes "
    "(pip install 'slm-lens[synth]'), or sounds=letters",
    cost="40 s of one core for both models: 30 clips, 457 content words",
    models=("organism", "organism-control"),
    function="slm_lens.studies.phases.study:study_phases_across",
)
