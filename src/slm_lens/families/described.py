"""Any other checkpoint, described in Python, or in ``slm_lens.yaml`` beside the weights.

A description says what the tokens are. How the weights are stored is found out all the same, so
that a checkpoint in slamkit's wrapper, or of ChatGLM's class, can be described as well.
"""

from transformers import PreTrainedConfig

from slm_lens.families._slamkit import MODEL_TYPE
from slm_lens.families._weights import StoredTensor
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.glm_4_voice import Glm4Voice
from slm_lens.families.slam import Slam
from slm_lens.families.vocab_spec import FILE_NAME, VocabSpec, read_vocab_spec

# Families whose checkpoints are no plain Hugging Face folders, by model_type.
STORED_AS: dict[str, Family] = {MODEL_TYPE: Slam(), "chatglm": Glm4Voice()}


class Described(Family):
    """A checkpoint whose description is given, or lies beside it.

    Args:
        given: the description; None takes the file.
    """

    name = "described"
    title = "Described by hand"
    models = ()
    unit_tokenizer = "yours"
    source = "docs/families.md"

    def __init__(self, given: VocabSpec | None = None) -> None:
        self._given = given

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not described.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None if a description was given or lies in the folder.
        """
        beside = files.folder is not None and (files.folder / FILE_NAME).is_file()
        return None if self._given or beside else f"it has no {FILE_NAME} beside it"

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """The description.

        Args:
            files: the checkpoint.

        Returns:
            What was given, else what the file says.
        """
        if self._given is not None:
            return self._given
        assert files.folder is not None
        return read_vocab_spec(files.folder / FILE_NAME)

    def weight_prefix(self, files: CheckpointFiles) -> str:
        """What stands before every name of the language model's weights.

        Args:
            files: the checkpoint.

        Returns:
            The prefix.
        """
        stored = STORED_AS.get(files.model_type)
        return stored.weight_prefix(files) if stored else super().weight_prefix(files)

    def hf_config(self, files: CheckpointFiles) -> PreTrainedConfig:
        """Config of the language model.

        Args:
            files: the checkpoint.

        Returns:
            The config.
        """
        stored = STORED_AS.get(files.model_type)
        return stored.hf_config(files) if stored else super().hf_config(files)

    def weights(self, files: CheckpointFiles) -> dict[str, StoredTensor]:
        """The language model's weights under the names of its class.

        Args:
            files: the checkpoint.

        Returns:
            Stored tensors by name.
        """
        stored = STORED_AS.get(files.model_type)
        return stored.weights(files) if stored else super().weights(files)
