"""SODA: Qwen3-type models trained from scratch on text and flattened Mimi codes.

Code ``c`` of codebook ``q`` is the character U+E000 + 2048 q + c, a token of its own; a frame
(12.5 a second) is eight of them. Both modalities stand between markers.

Source: SODA (https://soda-audio.github.io), model cards and experiment log; flattening as in
codec-bpe's ``codes_to_chars``.
"""

from slm_lens.errors import VocabError
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

FIRST_CHARACTER, CODEBOOK_SIZE = 0xE000, 2048
MARKERS = {
    "speech": "<|audio_start|>",
    "speech_end": "<|audio_end|>",
    "text": "<|text_start|>",
    "text_end": "<|text_end|>",
}


class Soda(Family):
    """Models whose audio tokens are characters from U+E000 on."""

    name = "soda"
    title = "SODA"
    models = ("soda-research/soda-135m-base", "soda-research/soda-4b-base")
    unit_tokenizer = "Mimi (kyutai/mimi), 8 codebooks of 2,048 at 12.5 Hz, flattened by frame"
    source = "https://soda-audio.github.io"
    own_tokenizer = "MimiCodes"

    def specimen(self) -> CheckpointFiles:
        """SODA's markers and the characters of 8 codebooks.

        Returns:
            Its files.
        """
        codes = (chr(FIRST_CHARACTER + c) for c in range(8 * CODEBOOK_SIZE))
        return specimen_files({"model_type": "qwen3"}, (*MARKERS.values(), *codes))

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if the tokenizer has the markers and the first audio character.
        """
        absent = [t for t in MARKERS.values() if t not in files.token_ids]
        if chr(FIRST_CHARACTER) not in files.token_ids:
            absent.append("U+E000")
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """One stream for each whole codebook among the characters.

        Args:
            files: the checkpoint.

        Returns:
            The description.

        Raises:
            VocabError: the audio characters do not follow each other, or end within a codebook.
        """
        ids = files.token_ids
        first = ids[chr(FIRST_CHARACTER)]
        n_codes = 0
        while ids.get(chr(FIRST_CHARACTER + n_codes)) == first + n_codes:
            n_codes += 1
        n_codebooks, rest = divmod(n_codes, CODEBOOK_SIZE)
        if rest or not n_codebooks:
            raise VocabError(
                f"load: the tokenizer of {files.name} has {n_codes} audio characters on ids that "
                f"follow each other from U+E000 on, expected whole codebooks of {CODEBOOK_SIZE}. "
                "Is it the tokenizer that the model was trained with?"
            )
        return VocabSpec(
            streams={
                "units" if q == 0 else f"codebook_{q}": StreamSpec(
                    offset=first + q * CODEBOOK_SIZE,
                    count=CODEBOOK_SIZE,
                    frame_rate_hz=12.5,
                    deduplicated=False,
                )
                for q in range(n_codebooks)
            },
            markers=MARKERS,
            before=("<|begin_of_text|>",),
            mark_speech_only=True,
            leading_space=False,
            mark_text_only=True,
        )
