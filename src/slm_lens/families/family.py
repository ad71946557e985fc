"""What every family of checkpoints has to say about itself."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from slm_lens.families._config_checks import check_numbers, check_rotation, refuse_rotation
from slm_lens.families._weights import StoredTensor
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.vocab_spec import VocabSpec

# Keys of a config that say how a model was stored, what a run of it returns, or what a classifier
# made from it would tell apart; not what a language model is.
FOREIGN_KEYS = (
    "model_type",
    "architectures",
    "auto_map",
    "torch_dtype",
    "dtype",
    "_name_or_path",
    "_attn_implementation_autoset",
    "transformers_version",
    "return_dict",
    "use_return_dict",
    "output_attentions",
    "output_hidden_states",
    "torchscript",
    "num_labels",
    "id2label",
    "label2id",
    "problem_type",
)


class Family(ABC):
    """A published layout of speech-text checkpoints.

    Say how to recognise it and how its vocabulary is divided; what is left out here is as in any
    Hugging Face folder. Register one of your own through the entry-point group
    ``slm_lens.families``, or hand it to ``slm_lens.load(..., family=MyFamily())``.

    Attributes:
        name: short name, for ``load(..., family=)`` and for provenance.
        title: the name as its authors write it.
        models: published checkpoints.
        unit_tokenizer: what turns sound into its units.
        source: where the layout is described.
        own_tokenizer: the class of slm-lens that makes these units, and what is not the same; None
            if there is none, and units have to come from the family's own code.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    unit_tokenizer: ClassVar[str]
    source: ClassVar[str]
    own_tokenizer: ClassVar[str | None] = None

    @abstractmethod
    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason, as a clause ("it has no token ``<audio>``"); None if it is of this family.
        """

    @abstractmethod
    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """How the vocabulary is divided and how prompts are written.

        Args:
            files: a checkpoint of this family.

        Returns:
            The description; ids are read from the files, never assumed.
        """

    def specimen(self) -> CheckpointFiles | None:
        """A published checkpoint without its weights: what `spec` reads of config and tokens.

        ``slm-lens families`` shows the description that `spec` gives for it.

        Returns:
            The files, as `specimen_files` makes them; None to show the attributes alone.
        """
        return None

    def weight_prefix(self, files: CheckpointFiles) -> str:
        """What stands before every name of the language model's weights.

        Args:
            files: a checkpoint of this family.

        Returns:
            The prefix, with its dot; empty for a bare language model.
        """
        del files
        return ""

    def hf_config(self, files: CheckpointFiles) -> PreTrainedConfig:
        """Config of the language model, as a class that transformers has.

        Args:
            files: a checkpoint of this family.

        Returns:
            The config.
        """
        return native_config(files.config, files.name)

    def weights(self, files: CheckpointFiles) -> dict[str, StoredTensor]:
        """The language model's weights under the names of its class.

        Args:
            files: a checkpoint of this family.

        Returns:
            Stored tensors by name, not read yet.

        Raises:
            ValueError: weights without this family's prefix.
        """
        weights, prefix = files.weights, self.weight_prefix(files)
        foreign = sorted(name for name in weights if not name.startswith(prefix))
        if foreign:
            raise ValueError(
                f"load: {files.name} has weights {foreign[:8]} without the prefix {prefix!r}, "
                f"expected only those of the language model inside. Is it really {self.title}?"
            )
        return {
            name.removeprefix(prefix): stored
            for name, stored in weights.items()
            if not name.endswith("rotary_emb.inv_freq")  # old files keep it; classes compute it
        }

    def inner_model(self, files: CheckpointFiles) -> PreTrainedModel:
        """The language model inside a model in memory.

        Args:
            files: a checkpoint of this family, in memory.

        Returns:
            The part that transformer-lens wraps.
        """
        assert files.hf_model is not None
        return cast(
            PreTrainedModel, files.hf_model.get_submodule(self.weight_prefix(files).rstrip("."))
        )


def native_config(config: dict[str, Any], where: str) -> PreTrainedConfig:
    """A config of a class that transformers has.

    Args:
        config: its entries, as in ``config.json``.
        where: whose config it is, for the message.

    Returns:
        The config.

    Raises:
        ValueError: the class is not known or refuses the entries, or a number is out of range.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"load: the config of {where} has model_type {model_type!r}, expected one that "
            "transformers has. If the class comes with the checkpoint, pass "
            "trust_remote_code=True, which runs its code."
        )
    entries = {k: v for k, v in config.items() if k not in FOREIGN_KEYS}
    check_numbers(entries, where)
    if not hasattr(CONFIG_MAPPING[model_type], "rope_parameters"):
        refuse_rotation(entries.pop("rope_scaling", None), model_type, where)
    try:
        made = AutoConfig.for_model(model_type, **entries)
    except Exception as error:
        raise ValueError(
            f"load: transformers makes no {model_type!r} config of {where} ({error}), expected "
            "the entries that the model was saved with. Was config.json edited?"
        ) from error
    check_rotation(getattr(made, "rope_parameters", None), where)  # not every class has them
    return made
