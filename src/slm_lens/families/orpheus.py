"""Orpheus: Llama-3.2 that speaks text, in seven SNAC codes a frame.

``<custom_token_0>`` to ``<custom_token_9>`` are control tokens; from 10 on, slot ``s`` of a frame
has 4,096 codes from ``10 + 4096 s`` on. Text is bare, speech stands between tokens 1 and 2, and the
prompt to speak a text is a turn: 3, ``<|begin_of_text|>``, the text, ``<|eot_id|>``, 4, 5, 1.
Nothing stands before a turn, so nothing stands before other prompts either.

Source: Orpheus-TTS (https://github.com/canopyai/Orpheus-TTS), ``engine_class.py``.
"""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import ChatSpec, StreamSpec, VocabSpec

N_CONTROLS, N_SLOTS, N_CODES = 10, 7, 4096
FRAME_RATE_HZ = 24_000 / 2_048


def custom(n: int) -> str:
    """Written form of a custom token."""
    return f"<custom_token_{n}>"


class Orpheus(Family):
    """Llama with SNAC codes as custom tokens."""

    name = "orpheus"
    title = "Orpheus"
    models = ("canopylabs/orpheus-3b-0.1-pretrained", "canopylabs/orpheus-3b-0.1-ft")
    unit_tokenizer = "SNAC 24 kHz, 7 codes of 4,096 a frame at 11.7 Hz, not deduplicated"
    source = "https://github.com/canopyai/Orpheus-TTS"

    def specimen(self) -> CheckpointFiles:
        """Orpheus' custom tokens.

        Returns:
            Its files.
        """
        tokens = (custom(n) for n in range(N_CONTROLS + N_SLOTS * N_CODES + 1))
        return specimen_files({"model_type": "llama"}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if the tokenizer has all custom tokens.
        """
        last = N_CONTROLS + N_SLOTS * N_CODES - 1
        absent = [t for t in (custom(0), custom(last)) if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """One stream for each slot of a frame.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        every = StreamSpec(pattern="<custom_token_{unit}>").ids("units", files.token_ids)
        return VocabSpec(
            streams={
                "units" if s == 0 else f"slot_{s}": StreamSpec(
                    offset=every[N_CONTROLS + s * N_CODES],
                    count=N_CODES,
                    frame_rate_hz=FRAME_RATE_HZ,
                    deduplicated=False,
                )
                for s in range(N_SLOTS)
            },
            markers={"speech": custom(1), "speech_end": custom(2)},
            specials=[custom(n) for n in (0, *range(3, N_CONTROLS))],
            before=(),
            mark_speech_only=True,
            leading_space=False,
            chat={
                "text": ChatSpec(
                    before=(custom(3), "<|begin_of_text|>"),
                    after=("<|eot_id|>", custom(4), custom(5), custom(1)),
                )
            },
        )
