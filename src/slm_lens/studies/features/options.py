"""Options of the study ``features``."""

from dataclasses import dataclass

STORIES = "stories"


@dataclass(frozen=True, kw_only=True)
class FeaturesOptions:
    """How dictionaries are trained and looked at.

    Attributes:
        data: folder of clips with word times that explained variance, steering and examples are
            of; ``"held-out"`` for those of the package.
        train_on: what dictionaries are trained on, and tagged on: ``"stories"`` for training
            stories of the organism, or a folder of other clips than `data`.
        n_stories: stories that are spoken; three fifths are trained on, the others tagged on.
        n_written: further stories, written alone, that are trained on; a spoken word has some eight
            positions, a written one has one.
        layers: as in `residual_stack`; None for the embedding, the last layer and three between.
        jump_layer: layer of the JumpReLU dictionary; None for the middle one of `layers`.
        expansion: features for each dimension of the stream.
        k: active features of a position, on average.
        n_steps: steps of each training.
        speech_share: share of speech among the positions that are trained on.
        n_top: positions that a tag goes by.
        least_f1: F1 on other utterances from which on a word has a feature of its own.
        steer_layer: layer whose features are steered, and shown on the page; None for the one
            between embedding and last whose features stand best for the next written word.
        n_steered: features that are steered.
        n_prompts: clips whose halves are prompts.
        n_draws: other features for each steered one.
        strengths: doses.
        n_shown: features on the page.
        n_shuffles: shuffles of modality labels.
        n_bootstrap: resamples in intervals; 0 for none.
        seed: of trainings, draws and resamples.
    """

    data: str = "held-out"
    train_on: str = STORIES
    n_stories: int = 500
    n_written: int = 1500
    layers: tuple[int, ...] | None = None
    jump_layer: int | None = None
    expansion: int = 4
    k: float = 8.0
    n_steps: int = 1000
    speech_share: float = 0.5
    n_top: int = 20
    least_f1: float = 0.5
    steer_layer: int | None = None
    n_steered: int = 8
    n_prompts: int = 12
    n_draws: int = 3
    strengths: tuple[float, ...] = (-1.0, 0.5, 1.0, 2.0, 4.0)
    n_shown: int = 36
    n_shuffles: int = 100
    n_bootstrap: int = 1000
    seed: int = 0
