"""What the study ``knowledge`` asks, as text."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="knowledge",
    question="Does transcription carry knowledge?",
    source="Sternberg, Maimon and Adi 2026, arXiv:2606.22473 (spoken facts, and their relation to "
    "transcription); scoring as in slamkit, Maimon et al. 2025, arXiv:2504.02398. The full text of "
    "the first was not at hand.",
    reproduced="Spoken prompts with a right and a counterfactual completion of one category; the "
    "share whose right completion is likelier, a tie counting 0.5; whether this goes with the "
    "transcription of words in the middle layers. The paper's verdict, as second-hand notes have "
    "it, is that the correlation is positive and does not explain all; its numbers are not known.",
    chosen="Everything else: log-likelihood a token over the completion alone decides where one "
    "number is given (all four of mean or sum, completion or all tokens are in the table "
    "`accuracy`); a word is transcribed if its rank among text rows is k or better at the layer "
    "where the held-out clips have the highest recall; point-biserial, Spearman and partial "
    "correlations over items, of which one is called "
    "positive or negative if its interval excludes 0 and it lies outside of the shuffled pairings "
    "(with 12 subjects and nothing to find, the interval alone excluded 0 in 10 % of 200 data "
    "sets, and both held in 4.5 %); words, word order and story endings as pairs. The facts are "
    "those of the organism's language, not the paper's 282, unless other data are given. "
    "Speech-text gaps cannot be split into what tuning lost and what alignment lost, which needs "
    "the text model from before.",
    controls="Accuracy: 0.5, and the same model with random weights. Correlations: pairings of "
    "transcription and answer shuffled among subjects; settings whose prompt is written, where "
    "nothing is heard; word frequency held fixed. Recall: words of other clips at the same spans.",
    needs="models with text and speech that know the organism's language, and espeak-ng (pip "
    "install 'slm-lens[synth]'); or a table of facts with its columns named",
    cost="80 s of one core for two models",
    models=("organism", "organism-control"),
    function="slm_lens.studies.knowledge.study:study_knowledge",
)
