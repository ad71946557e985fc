"""Slam: unit-only models that slamkit trained from a text model's weights.

Tokens: ``<PAD>`` 0, ``<S>`` 1, unit ``u`` at ``u + 2``; no text and no markers, hence no tokenizer
in the folder and nothing for a text lens to read. ``<S>`` stands at both ends; a prompt that is to
be continued has none at its end.

Source: slamkit (https://github.com/slp-rl/slamkit), ``tokeniser/unit_tokeniser.py``; Maimon et al.
2025, arXiv:2502.15814.
"""

from slm_lens.errors import VocabError
from slm_lens.families._slamkit import MODEL_TYPE, SlamkitFamily, base_config, base_rows
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

PAD, BOUNDARY, FIRST_UNIT = 0, 1, 2


class Slam(SlamkitFamily):
    """Unit-only models of slamkit."""

    name = "slam"
    title = "Slam"
    models = ("slprl/slam", "slprl/slam_scaled")
    unit_tokenizer = "mHuBERT-25Hz, layer 11, 500 k-means units, deduplicated"
    source = "Maimon et al. 2025, arXiv:2502.15814"
    own_tokenizer = "HubertKMeans"

    def specimen(self) -> CheckpointFiles:
        """Slam's sizes: fewer rows than Qwen2.5-0.5B, which it began with.

        Returns:
            Its files.
        """
        base = {"model_type": "qwen2", "vocab_size": 151_936}
        return specimen_files({"model_type": MODEL_TYPE, "vocab_size": 502, "base_config": base})

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if it is slamkit's and has fewer rows than the text model had.
        """
        if files.model_type != MODEL_TYPE:
            return f"its model_type is {files.model_type!r}, not {MODEL_TYPE!r}"
        return None if is_unit_only(files) else "its vocabulary has room for text"

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """Two control tokens, then units.

        Args:
            files: the checkpoint.

        Returns:
            The description.

        Raises:
            VocabError: the config names other control tokens, or there is a text tokenizer.
        """
        if files.tokenizer is not None and files.token_ids.get("<Un0>") != FIRST_UNIT:
            raise VocabError(
                f"load: {files.name} has units and no text, and got a tokenizer without <Un0> at "
                f"id {FIRST_UNIT}, expected none. Leave text_tokenizer= out; if the model has text "
                "(SIMS), its base_config has another vocab_size than the text model had."
            )
        d_vocab = files.number("vocab_size", at_least=FIRST_UNIT + 1)
        named = base_config(files)
        odd = {
            key: named[key]
            for key, wanted in (("pad_token_id", PAD), ("bos_token_id", BOUNDARY))
            if named.get(key) not in (None, wanted)
        }
        if odd:
            raise VocabError(
                f"load: the base_config of {files.name} has {odd}, expected pad_token_id {PAD} "
                f"and bos_token_id {BOUNDARY} as slamkit's unit tokenizer has. Describe the "
                "layout: vocab_spec=VocabSpec(...)."
            )
        unit = StreamSpec(
            offset=FIRST_UNIT, count=d_vocab - FIRST_UNIT, frame_rate_hz=25, deduplicated=True
        )
        return VocabSpec(
            streams={"units": unit},
            specials={"<PAD>": PAD, "<S>": BOUNDARY},
            has_text=False,
            before=(BOUNDARY,),
            after=(BOUNDARY,),
        )


def is_unit_only(files: CheckpointFiles) -> bool:
    """Whether a slamkit checkpoint has fewer rows than the text model that it began with.

    Interleaved models have all text rows and more; a tokenizer with text and units settles it.
    """
    rows = base_rows(files)
    if "<Un0>" in files.token_ids and "<text>" in files.token_ids:
        return False
    return rows is not None and files.number("vocab_size", at_least=1) < rows
