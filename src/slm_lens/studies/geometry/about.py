"""What the study `geometry` is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="geometry",
    question="Do speech and text states meet?",
    source="Xiang et al. 2025, arXiv:2510.12116 (cosine and Euclidean distance of time means by "
    "layer, alignment path score); Hsu et al. 2026, arXiv:2603.01502 (time warping, cross-layer "
    "linear CKA, coverage of attention). Both known to us at second hand, without their formulas "
    "in full.",
    reproduced="time means of a clip and of its text by layer, their cosine, distance and norms; "
    "the matrix of speech positions by text tokens with the most similar position of each token; "
    "linear CKA of every layer of speech with every layer of text, the best text layer and the "
    "width of the band; tokens that hold 90 % of the attention of the position that decides.",
    chosen="Alignment path score: mean over text tokens of the largest cosine to any speech "
    "position (the source's formula is not known). States of CKA: means over the positions of each "
    "word, by its times; --set align=dtw takes time warping of raw cosines at two thirds of the "
    "way up, as Hsu et al. do, which finds only a part of the words here (table agreement). CKA is "
    "debiased (Song et al. 2012; Murphy et al. 2024, arXiv:2405.01012), since states are few. "
    "Band: text layers with at least 0.9 of the highest CKA; the source's threshold is not known. "
    "Coverage: of the mean of the heads' patterns, and the mean over heads; the source's way is "
    "not known. The position that decides is the last one of a beginning of a clip, written or "
    "spoken and followed by the marker of text; accuracy is of the next word alone, not of "
    "questions or facts.",
    controls="shuffled sentences: the texts of the five other clips nearest in number of words, "
    "for words the word of the same number there, if another; centred measures, since raw cosines "
    "of any two states are high; 15 copies with random weights; for CKA the first two, since it "
    "does not see where states lie; for time warping a straight line; for attention uniform "
    "attention. A model is called closer where its 95 % interval (clips, and words crossed with "
    "clips) is above shuffled sentences and its excess above what random weights show (95 % for "
    "all layers together). Of 40 null models 0 to 2 are called closer at some layer, by measure; "
    "with intervals over clips alone a half.",
    needs="a folder of clips with word times, and models with text and their unit tokenizer",
    cost="1.5 minutes for two models on one core",
    models=("organism", "organism-control"),
    function="slm_lens.studies.geometry.study:study_geometry",
)
