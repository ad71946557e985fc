"""SpeechGPT: LLaMA with 1,000 HuBERT units.

Units are ``<0>`` ... ``<999>`` between ``<sosp>`` and ``<eosp>``; text is bare. The chat model
knows further control tokens, ``[Human]``, ``<eoh>`` and others. Its chat template is not offered:
where spaces fell around those tokens depended on the tokenizer's version.

Source: SpeechGPT (https://github.com/0nutation/SpeechGPT), ``train/cm_sft.py`` and
``speech2unit.py``; Zhang et al. 2023, arXiv:2305.11000.
"""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

CONTROLS = ("[Human]", "[SpeechGPT]", "<eoh>", "<eos>")


class SpeechGPT(Family):
    """LLaMA with units in angle brackets."""

    name = "speech-gpt"
    title = "SpeechGPT"
    models = ("fnlp/SpeechGPT-7B-ma", "fnlp/SpeechGPT-7B-cm")
    unit_tokenizer = "mHuBERT, layer 11, 1,000 k-means units, deduplicated"
    source = "Zhang et al. 2023, arXiv:2305.11000"

    def specimen(self) -> CheckpointFiles:
        """SpeechGPT's units and control tokens.

        Returns:
            Its files.
        """
        tokens = (*(f"<{u}>" for u in range(1000)), "<sosp>", "<eosp>", *CONTROLS)
        return specimen_files({"model_type": "llama"}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if the tokenizer has the units and their markers.
        """
        absent = [t for t in ("<0>", "<sosp>", "<eosp>") if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """Units between markers, bare text.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        unit = StreamSpec(pattern="<{unit}>", frame_rate_hz=50, deduplicated=True)
        return VocabSpec(
            streams={"units": unit},
            markers={"speech": "<sosp>", "speech_end": "<eosp>"},
            specials=[t for t in CONTROLS if t in files.token_ids],
            mark_speech_only=True,
        )
