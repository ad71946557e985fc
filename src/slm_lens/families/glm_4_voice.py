"""GLM-4-Voice: an instruct model of text and 16,384 audio tokens, 12.5 a second.

The checkpoint's class comes as remote code for an old transformers. Its weights are those of
transformers' own ``GlmForCausalLM`` under other names, so that class is loaded: in memory here, or
once for all by ``slm-lens convert``.

Prompts begin with ``[gMASK]<sop>``; speech stands between ``<|begin_of_audio|>`` and
``<|end_of_audio|>``, text is bare; a chat turn tells the model to answer in text and audio.

Source: GLM-4-Voice (https://github.com/THUDM/GLM-4-Voice), ``web_demo.py``; Zeng et al. 2024,
arXiv:2412.02612. The conversion is checked against a forward pass in the tests.
"""

from typing import Any

from transformers import PreTrainedConfig

from slm_lens.families._weights import StoredTensor
from slm_lens.families.family import Family, native_config
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.specimen import specimen_files
from slm_lens.families.vocab_spec import ChatSpec, StreamSpec, VocabSpec

START = ("[gMASK]", "<sop>")
SYSTEM = (
    "User will provide you with a {what} instruction. Do it step by step. First, think about the "
    "instruction and respond in a interleaved manner, with 13 text token followed by 26 audio "
    "tokens.{end}"
)
ANSWER = "<|assistant|>streaming_transcription\n"
# What the conversion relies on; another value would be another computation.
REQUIRED = {
    "rmsnorm": True,
    "original_rope": True,
    "post_layer_norm": True,
    "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False,
    "tie_word_embeddings": False,
}
RENAMED = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.output_layer.weight": "lm_head.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
}
LAYERS = "transformer.encoder.layers."
PARTS = {
    "self_attention.dense": "self_attn.o_proj",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}
FUSED = "self_attention.query_key_value."


class Glm4Voice(Family):
    """ChatGLM checkpoints with audio tokens, or their conversion."""

    name = "glm-4-voice"
    title = "GLM-4-Voice"
    models = ("zai-org/glm-4-voice-9b",)
    unit_tokenizer = "WhisperVQ (zai-org/glm-4-voice-tokenizer), 16,384 units, not deduplicated"
    source = "Zeng et al. 2024, arXiv:2412.02612"

    def specimen(self) -> CheckpointFiles:
        """GLM-4-Voice's tokens.

        Returns:
            Its files.
        """
        audio = (f"<|audio_{k}|>" for k in range(16_384))
        tokens = (*START, "<|begin_of_audio|>", "<|end_of_audio|>", *audio)
        return specimen_files({"model_type": "chatglm"}, tokens)

    def why_not(self, files: CheckpointFiles) -> str | None:
        """Why a checkpoint is not of this family.

        Args:
            files: the checkpoint.

        Returns:
            The reason; None for a ChatGLM or GLM with audio tokens.
        """
        if files.model_type not in ("chatglm", "glm"):
            return f"its model_type is {files.model_type!r}, not 'chatglm' or 'glm'"
        wanted = ("<|audio_0|>", "<|begin_of_audio|>", "<|end_of_audio|>", *START)
        absent = [t for t in wanted if t not in files.token_ids]
        return f"its tokenizer has no {' and no '.join(absent)}" if absent else None

    def spec(self, files: CheckpointFiles) -> VocabSpec:
        """Audio tokens between markers, bare text.

        Args:
            files: the checkpoint.

        Returns:
            The description.
        """
        del files  # every id is looked up by its written form
        unit = StreamSpec(pattern="<|audio_{unit}|>", frame_rate_hz=12.5, deduplicated=False)
        return VocabSpec(
            streams={"units": unit},
            markers={"speech": "<|begin_of_audio|>", "speech_end": "<|end_of_audio|>"},
            before=START,
            mark_speech_only=True,
            leading_space=False,
            chat={
                modality: ChatSpec(
                    before=f"<|system|>\n{SYSTEM.format(what=modality, end=end)}<|user|>\n",
                    after=ANSWER,
                )
                for modality, end in (("speech", " "), ("text", ""))  # as the demo writes them
            },
        )

    def hf_config(self, files: CheckpointFiles) -> PreTrainedConfig:
        """The config as ``GlmForCausalLM`` has it.

        Args:
            files: the checkpoint.

        Returns:
            The config.

        Raises:
            ValueError: the config asks for something that the class does not compute.
        """
        if files.model_type == "glm":
            return super().hf_config(files)
        old = files.config
        odd = {k: old[k] for k, v in REQUIRED.items() if old.get(k, v) != v}
        if odd:
            raise ValueError(
                f"load: the config of {files.name} has {odd}, expected "
                f"{ {k: REQUIRED[k] for k in odd} } as in GLM-4; the conversion to GlmForCausalLM "
                "would compute something else. Is it another ChatGLM?"
            )
        return native_config({"model_type": "glm"} | _glm_entries(files), files.name)

    def weights(self, files: CheckpointFiles) -> dict[str, StoredTensor]:
        """The weights under the names of ``GlmForCausalLM``, the fused projection taken apart.

        Args:
            files: the checkpoint.

        Returns:
            Stored tensors by name.

        Raises:
            ValueError: a weight that ChatGLM does not have.
        """  # noqa: DOC502 (raised by _converted)
        if files.model_type == "glm":
            return super().weights(files)
        head_dim = files.number("kv_channels", at_least=1)
        n_rows = [
            files.number("num_attention_heads", at_least=1) * head_dim,
            *[files.number("multi_query_group_num", at_least=1) * head_dim] * 2,
        ]
        weights: dict[str, StoredTensor] = {}
        for name, stored in files.weights.items():
            if not name.endswith("inv_freq"):
                weights |= _converted(name, stored, n_rows, files.name)
        return weights


def _glm_entries(files: CheckpointFiles) -> dict[str, Any]:
    """Entries of the native config."""
    theta = 10_000.0 * _ratio(files)
    return {
        "vocab_size": files.number("padded_vocab_size", at_least=1),
        "hidden_size": files.number("hidden_size", at_least=1),
        "intermediate_size": files.number("ffn_hidden_size", at_least=1),
        "num_hidden_layers": files.number("num_layers", at_least=1),
        "num_attention_heads": files.number("num_attention_heads", at_least=1),
        "num_key_value_heads": files.number("multi_query_group_num", at_least=1),
        "head_dim": files.number("kv_channels", at_least=1),
        "max_position_embeddings": files.number("seq_length", at_least=1),
        "rms_norm_eps": files.config.get("layernorm_epsilon", 1e-5),
        "attention_bias": bool(files.config.get("add_qkv_bias", False)),
        "tie_word_embeddings": False,
        "pad_token_id": None,
        "eos_token_id": files.config.get("eos_token_id"),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": theta,
            "partial_rotary_factor": 0.5,
        },
    }


def _ratio(files: CheckpointFiles) -> float:
    ratio = files.config.get("rope_ratio", 1)
    if not isinstance(ratio, int | float) or not 0 < ratio < float("inf"):
        raise ValueError(
            f"load: the config of {files.name} has rope_ratio={ratio!r}, expected a positive "
            "number. Was config.json edited?"
        )
    return float(ratio)


def _converted(
    name: str, stored: StoredTensor, n_rows: list[int], where: str
) -> dict[str, StoredTensor]:
    """One weight under its native name, or three of a fused one."""
    if name in RENAMED:
        return {RENAMED[name]: stored}
    layer, _, part = name.removeprefix(LAYERS).partition(".")
    if not name.startswith(LAYERS) or not layer.isdigit():
        raise ValueError(
            f"load: {where} has a weight {name!r}, expected those of ChatGLMForConditional"
            "Generation. Is it another model under model_type 'chatglm'?"
        )
    native = f"model.layers.{layer}."
    if not part.startswith(FUSED):
        module, _, kind = part.rpartition(".")
        return {f"{native}{PARTS.get(module, module)}.{kind}": stored}
    if stored.shape[:1] != (sum(n_rows),):
        raise ValueError(
            f"load: {name} in {where} has shape {stored.shape}, expected {sum(n_rows)} rows of "
            "queries, keys and values. Do config.json and the weights belong together?"
        )
    split, first = {}, 0
    for letter, rows in zip("qkv", n_rows, strict=True):
        split[f"{native}self_attn.{letter}_proj.{part.removeprefix(FUSED)}"] = StoredTensor(
            (rows, *stored.shape[1:]),
            stored.dtype,
            lambda a=first, b=first + rows: stored.read()[a:b],
        )
        first += rows
    return split
