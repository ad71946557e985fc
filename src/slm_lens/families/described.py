"""Any other checkpoint, described in Python, or in ``slm_lens.yaml`` beside the weights."""

from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.vocab_spec import FILE_NAME, VocabSpec, read_vocab_spec


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
