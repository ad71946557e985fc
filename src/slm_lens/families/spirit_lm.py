"""Spirit LM, base and expressive: Llama-2 with phonetic units, and pitch and style units.

| tokens | what | rate |
|---|---|---|
| ``[Hu0]`` ... | HuBERT units, deduplicated | 24.99 Hz |
| ``[Pi0]`` ... | pitch, deduplicated; expressive only | 12.5 Hz |
| ``[St0]`` ... | style, not deduplicated; expressive only | 1 Hz |

The three are merged by start time; at equal times style comes first, then pitch, then the unit.
``[Text]`` and ``[Speech]`` stand at the start and at every switch, after ``<s>``.

The speech pieces are part of the SentencePiece file. Which space the training put before a text
depends on the version of ``LlamaTokenizer``; here a word is written with the space before it, as
SentencePiece does: ``[Text]▁the▁cat``.

Source: spiritlm (https://github.com/facebookresearch/spiritlm), ``model/utils.py`` and
``speech_tokenizer/spiritlm_tokenizer.py``; Nguyen et al. 2024, arXiv:2402.05755.
"""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

PITCH_AND_STYLE = {
    "style": ("[St0]", StreamSpec(pattern="[St{unit}]", frame_rate_hz=1, deduplicated=False)),
    "pitch": ("[Pi0]", StreamSpec(pattern="[Pi{unit}]", frame_rate_hz=12.5, deduplicated=True)),
}


class SpiritLM(Family):
    """Llama-2 with one or three speech streams."""

    name = "spirit-lm"
    title = "Spirit LM"
    models = ("spirit-lm-base-7b", "spirit-lm-expressive-7b")
    unit_tokenizer = (
        "mHuBERT-25Hz, layer 11, a linear quantizer (no k-means) of 501 units, deduplicated; "
        "expressive also VQ-VAE pitch, wav2vec 2 style"
    )
    source = "Nguyen et al. 2024, arXiv:2402.05755"

    def specimen(self) -> CheckpointFiles:
        """Spirit LM expressive; the base model has units alone.

        Returns:
            Its files.
        """
        units = (f"[Hu{u}]" for u in range(501))
        pitch, style = (f"[Pi{p}]" for p in range(64)), (f"[St{s}]" for s in range(100))
        tokens = ("[Text]", "[Speech]", *units, *pitch, *style)
        return specimen_files({"model_type": "llama"}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None for a Llama whose tokenizer has ``[Hu0]``, ``[Text]``, ``[Speech]``.
        """
        if files.model_type != "llama":
            return f"its model_type is {files.model_type!r}, not 'llama'"
        absent = [t for t in ("[Hu0]", "[Text]", "[Speech]") if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """The streams that the tokenizer has.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        further = {
            name: stream
            for name, (first, stream) in PITCH_AND_STYLE.items()
            if first in files.token_ids
        }
        unit = StreamSpec(pattern="[Hu{unit}]", frame_rate_hz=24.99, deduplicated=True)
        return VocabSpec(
            streams=further | {"units": unit},
            markers={"text": "[Text]", "speech": "[Speech]"},
            before=("<s>",),
            mark_speech_only=True,
            mark_text_only=True,
        )
