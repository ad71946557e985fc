"""Ichigo (llama3-s): Llama-3.1 that listens, in 512 WhisperVQ units.

Units are ``<|sound_0000|>`` ... between ``<|sound_start|>`` and ``<|sound_end|>``; text is bare.

Source: Dao et al. 2024, arXiv:2410.15316; model cards.
"""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec


class Ichigo(Family):
    """Llama with sound tokens."""

    name = "ichigo"
    title = "Ichigo"
    models = ("homebrewltd/Ichigo-llama3.1-s-base-v0.3",)
    unit_tokenizer = "WhisperVQ, 512 units, not deduplicated"
    source = "Dao et al. 2024, arXiv:2410.15316"

    def specimen(self) -> CheckpointFiles:
        """Ichigo's sound tokens.

        Returns:
            Its files.
        """
        sounds = (f"<|sound_{k:04d}|>" for k in range(512))
        tokens = (*sounds, "<|sound_start|>", "<|sound_end|>")
        return specimen_files({"model_type": "llama"}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if the tokenizer has the sound tokens and their markers.
        """
        wanted = ("<|sound_0000|>", "<|sound_start|>", "<|sound_end|>")
        absent = [t for t in wanted if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """Sound tokens between markers, bare text.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        del files  # every id is looked up by its written form
        return VocabSpec(
            streams={"units": StreamSpec(pattern="<|sound_{unit}|>", deduplicated=False)},
            markers={"speech": "<|sound_start|>", "speech_end": "<|sound_end|>"},
            mark_speech_only=True,
            leading_space=False,
        )
