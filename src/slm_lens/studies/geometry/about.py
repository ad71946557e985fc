"""What the study `geometry` is."""

from slm_lens.studies.study import Study

STUDY = Study(
    name="geometry",
    question="Do speech and text states meet?",
    source="x",
    reproduced="x",
    chosen="x",
    controls="x",
    needs="x",
    cost="x",
    models=("organism", "organism-control"),
    function="slm_lens.studies.geometry.study:study_geometry",
)
