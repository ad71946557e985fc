"""Llama-Mimi: Llama-3 with the four codebooks of Mimi written one after the other.

Code ``c`` of codebook ``q`` is the token ``<c_q>``; a frame (12.5 a second) is four tokens. Speech
stands between ``<audio>`` and ``</audio>``; text is bare.

Source: llama-mimi (https://github.com/llm-jp/llama-mimi), ``torchtitan/train.py``; Sugiura et al.
2025, arXiv:2509.14882.
"""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec


class LlamaMimi(Family):
    """Llama with flattened Mimi codes."""

    name = "llama-mimi"
    title = "Llama-Mimi"
    models = ("llm-jp/Llama-Mimi-1.3B", "llm-jp/Llama-Mimi-8B")
    unit_tokenizer = "Mimi (kyutai/mimi), 4 codebooks of 2,048 at 12.5 Hz, flattened by frame"
    source = "Sugiura et al. 2025, arXiv:2509.14882"
    own_tokenizer = "MimiCodes"

    def specimen(self) -> CheckpointFiles:
        """Llama-Mimi's tokens.

        Returns:
            Its files.
        """
        codes = (f"<{code}_{q}>" for code in range(2048) for q in range(4))
        tokens = (*codes, "<audio>", "</audio>")
        return specimen_files({"model_type": "llama", "num_quantizers": 4}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if the config has ``num_quantizers`` and the tokenizer ``<0_0>``.
        """
        if "num_quantizers" not in files.config:
            return "its config has no num_quantizers"
        absent = [t for t in ("<0_0>", "<audio>", "</audio>") if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """One stream for each codebook; the first is the semantic one.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        n_codebooks = files.number("num_quantizers", at_least=1)
        return VocabSpec(
            streams={
                "units" if q == 0 else f"codebook_{q}": StreamSpec(
                    pattern=f"<{{unit}}_{q}>",
                    step=n_codebooks,
                    frame_rate_hz=12.5,
                    deduplicated=False,
                )
                for q in range(min(n_codebooks, len(files.token_ids)))
            },
            markers={"speech": "<audio>", "speech_end": "</audio>"},
            mark_speech_only=True,
            leading_space=False,
        )
