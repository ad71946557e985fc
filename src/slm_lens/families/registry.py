"""All families: the ones here, those of other packages, and which one a checkpoint belongs to."""

import difflib
from importlib.metadata import entry_points

from slm_lens.families.described import Described
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.glm_4_voice import Glm4Voice
from slm_lens.families.ichigo import Ichigo
from slm_lens.families.llama_mimi import LlamaMimi
from slm_lens.families.orpheus import Orpheus
from slm_lens.families.sims import Sims
from slm_lens.families.slam import Slam
from slm_lens.families.soda import Soda
from slm_lens.families.speech_gpt import SpeechGPT
from slm_lens.families.spirit_lm import SpiritLM
from slm_lens.families.twist import Twist

ENTRY_POINTS = "slm_lens.families"
BUILT_IN: tuple[Family, ...] = (
    Sims(),
    Slam(),
    Twist(),
    SpiritLM(),
    Glm4Voice(),
    LlamaMimi(),
    Orpheus(),
    Soda(),
    Ichigo(),
    SpeechGPT(),
)
# model_type -> why its checkpoints are no single softmax over text and units.
UNSUPPORTED = {
    "moshi": "Moshi sums the embeddings of 17 streams and has a depth decoder",
    "csm": "CSM sums the embeddings of its codebooks and has a depth decoder",
    "kimi_audio": "Kimi-Audio reads two streams at once and branches after layer 21",
    "mimo_audio": "MiMo-Audio has a decoder of its own for groups of codes",
    "qwen2_5_omni": "Qwen2.5-Omni hears continuous features and speaks through a second model",
    "qwen3_omni_moe": "Qwen3-Omni hears continuous features and speaks through a second model",
    "qwen2_audio": "Qwen2-Audio hears continuous features and has no speech units",
}


def families_by_name() -> dict[str, Family]:
    """Every family by name: the built-in ones, then those that other packages registered.

    Returns:
        Families by name.

    Raises:
        ValueError: an entry point gives no family, or one whose name is taken.
    """
    known = {family.name: family for family in BUILT_IN}
    for entry in entry_points(group=ENTRY_POINTS):
        made = entry.load()
        family = made() if isinstance(made, type) else made
        if not isinstance(family, Family) or family.name in known:
            raise ValueError(
                f"families_by_name: the entry point {entry.name!r} ({entry.value}) gives "
                f"{getattr(family, 'name', family)!r}, expected a slm_lens.Family with a name of "
                f"its own, other than {sorted(known)}. Ask the package's authors."
            )
        known[family.name] = family
    return known


def recognise(files: CheckpointFiles, family: str | Family | type[Family] | None) -> Family:
    """The family of a checkpoint.

    Args:
        files: the checkpoint.
        family: the family, or its name, if the user knows; None to find out. A description
            beside the weights goes before all families.

    Returns:
        The family.

    Raises:
        LookupError: no family has this name.
        TypeError: `family` is none.
        ValueError: no family takes the checkpoint, the named one does not, or several do.
    """  # noqa: DOC502 (raised by _named)
    if family is not None:
        return _named(files, family)
    if Described().why_not(files) is None:
        return Described()
    reasons = {f: f.why_not(files) for f in families_by_name().values()}
    takers = [f for f, reason in reasons.items() if reason is None]
    if len(takers) == 1:
        return takers[0]
    if takers:
        raise ValueError(
            f"load: {files.name} could be of the families {[f.name for f in takers]}, expected "
            "one. Choose: load(..., family=...)."
        )
    known = UNSUPPORTED.get(files.model_type)
    listed = "\n".join(f"  {f.name}: {reason}" for f, reason in reasons.items())
    raise ValueError(
        f"load: {files.name} is of no known family:\n{listed}\n"
        + (f"{known}; such models are not supported. " if known else "")
        + ("" if files.token_ids else "Most are told by their tokens: give text_tokenizer=. ")
        + "Expected one of these, or a description: load(..., vocab_spec=slm_lens.VocabSpec("
        'streams={"units": slm_lens.StreamSpec(pattern="<unit_{unit}>")})), or slm_lens.yaml '
        "beside the weights. See docs/families.md."
    )


def _named(files: CheckpointFiles, family: str | Family | type[Family]) -> Family:
    if isinstance(family, str):
        known = families_by_name()
        if family not in known:
            near = difflib.get_close_matches(family, known, n=1)
            raise LookupError(
                f"load: got family {family!r}, expected one of {sorted(known)}."
                + (f" Did you mean {near[0]!r}?" if near else "")
            )
        family = known[family]
    elif isinstance(family, type) and issubclass(family, Family):
        family = family()
    if not isinstance(family, Family):
        raise TypeError(
            f"load: got family={family!r}, expected the name of a family or a slm_lens.Family. "
            f"Names: {sorted(families_by_name())}."
        )
    reason = family.why_not(files)
    if reason is not None:
        raise ValueError(
            f"load: {files.name} is not of the family {family.name!r}: {reason}. Leave family= "
            "out to have it recognised."
        )
    return family
