"""TWIST: unit language models warm-started from text models (OPT, LLaMA).

A plain Hugging Face folder whose config has one key more, ``offset``: unit ``u`` is token
``u + offset``. Its value is not published, so it is read and never guessed. No text, no tokenizer,
no bos or eos; TWIST-350M is an OPT-350M, which transformer-lens cannot cache and slm-lens refuses.

Source: Hassid et al. 2023, arXiv:2305.13009; textlesslib ``examples/twist``.
"""

from slm_lens.errors import VocabError
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

N_UNITS = 500  # mHuBERT k-means, Hassid et al. 2023, section 3
BASES = ("opt", "llama")
CONTROLS = ("pad_token_id", "bos_token_id", "eos_token_id")


class Twist(Family):
    """Unit models with an offset in their config."""

    name = "twist"
    title = "TWIST"
    models = ("TWIST-350M (refused)", "TWIST-1.3B", "TWIST-7B")
    unit_tokenizer = "mHuBERT-25Hz, layer 11, 500 k-means units, deduplicated"
    source = "Hassid et al. 2023, arXiv:2305.13009"
    own_tokenizer = "HubertKMeans, which pads a clip by 40 samples where TWIST's code does not"

    def specimen(self) -> CheckpointFiles:
        """A TWIST-1.3B whose offset is 1: its value is not published, and not shown.

        Returns:
            Its files.
        """
        return specimen_files({"model_type": "opt", "vocab_size": 1 + N_UNITS, "offset": 1})

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None for an OPT or Llama whose config has an offset.
        """
        if files.model_type not in BASES:
            return f"its model_type is {files.model_type!r}, not one of {BASES}"
        if "offset" not in files.config:
            return "its config has no offset, without which its units cannot be told"
        return None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """Units from the offset on; below it, the control tokens that the config names.

        Args:
            files: the checkpoint.

        Returns:
            The description.

        Raises:
            VocabError: there is no room for the units.
        """
        offset = files.number("offset")
        d_vocab = files.number("vocab_size", at_least=1)
        if offset + N_UNITS > d_vocab:
            raise VocabError(
                f"load: {files.name} has {d_vocab} rows in its embedding and offset {offset}, "
                f"expected room for {N_UNITS} units. With another number of units, describe the "
                "layout: vocab_spec=VocabSpec(...)."
            )
        units = range(offset, offset + N_UNITS)
        controls: dict[str, int] = {}
        for key in CONTROLS:
            token = files.config.get(key)
            taken = token in units or token in controls.values()
            if isinstance(token, int) and 0 <= token < d_vocab and not taken:
                controls[f"<{key.removesuffix('_token_id')}>"] = token
        unit = StreamSpec(offset=offset, count=N_UNITS, frame_rate_hz=25, deduplicated=True)
        return VocabSpec(streams={"units": unit}, specials=controls, has_text=False, before=())
