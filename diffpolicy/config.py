"""What an experiment is: frozen dataclasses. Every choice the project offers is a field here, with its default and reason.

A checkpoint's `config.json` is this same tree, so a run can be repeated from its own folder. `config_file.py` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic

from diffpolicy.config_checks import STRICT_KEYS, not_negative, positive, shares
from diffpolicy.config_images import ImageEncoderConfig, ImportedTrunkConfig, ResNetConfig  # noqa: F401 - all of the tree
from diffpolicy.config_objectives import (  # noqa: F401 - all of the tree
    DDPMConfig,
    EDMConfig,
    FlowConfig,
    MixtureConfig,
    Objective,
    RegressionConfig,
    Sampler,
    check_sampler,
)


@dataclass(frozen=True)
class MLPConfig:
    """A residual network with adaptive normalization over the flattened action sequence: the fast choice on a CPU."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["mlp"] = "mlp"
    width: int = 512
    """Features of the residual stream."""
    blocks: int = 3
    """Residual blocks."""
    expansion: int = 2
    """Hidden features of a block, in multiples of the width."""
    cond_width: int = 256
    """Features of the embedding of time and observation that modulates every block; even."""
    dropout: float = 0.0
    """Share of hidden features left out in training."""

    def __post_init__(self) -> None:
        positive(self, "width", "blocks", "expansion", "cond_width")
        shares(self, "dropout")
        if self.cond_width % 2:
            raise ValueError(f"cond_width is {self.cond_width}; it must be even: half of the time's features are sines")


@dataclass(frozen=True)
class UNet1DConfig:
    """The conditional U-Net over time of Chi et al. 2023: FiLM, group norm, Mish."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["unet1d"] = "unet1d"
    channels: tuple[int, ...] = (256, 512, 1024)
    """Features at each level; each level but the last halves the horizon."""
    kernel_size: int = 5
    groups: int = 8
    time_width: int = 256
    """Features of the embedding of the noise level."""

    def __post_init__(self) -> None:
        positive(self, "kernel_size", "groups", "time_width")
        if not self.channels or any(c <= 0 or c % self.groups for c in self.channels):
            raise ValueError(f"channels is {self.channels}; give one or more, multiples of groups ({self.groups})")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; it must be odd, or a convolution changes the horizon")
        if self.time_width % 2:
            raise ValueError(f"time_width is {self.time_width}; it must be even: half of the time's features are sines")


@dataclass(frozen=True)
class TransformerConfig:
    """A diffusion transformer over the steps of a plan: adaptive normalization, cross-attention on observation steps."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["transformer"] = "transformer"
    width: int = 192
    """Features of a token; even, a multiple of heads."""
    blocks: int = 4
    heads: int = 6
    expansion: int = 4
    """Hidden features of a block, in multiples of the width."""
    dropout: float = 0.0
    """Share of hidden features left out in training."""

    def __post_init__(self) -> None:
        positive(self, "width", "blocks", "heads", "expansion")
        shares(self, "dropout")
        if self.width % 2 or self.width % self.heads:
            raise ValueError(f"width is {self.width}; it must be even and a multiple of heads ({self.heads})")


Backbone = Annotated[MLPConfig | UNet1DConfig | TransformerConfig, pydantic.Field(discriminator="name")]


@dataclass(frozen=True)
class PolicyConfig:
    """p(x | y): what is observed, over which horizons, and how a sequence of actions is generated."""

    __pydantic_config__ = STRICT_KEYS
    task: str = "pusht"
    """Features and mirror: a name in `diffpolicy.tasks`, or `your.module:object`."""
    observations: tuple[str, ...] = ("state",)
    """The keys of y."""
    obs_horizon: int = 2
    """Observation steps in y."""
    pred_horizon: int = 16
    """Action steps in x."""
    action_horizon: int = 8
    """Action steps executed before looking again."""
    execution_speed: float = 1.0
    """How fast a plan is followed: at 1.5 its actions are read off every one and a half steps. Training is the same."""
    noise_scale: float = 1.0
    """Standard deviation of the noise that plans start from in closed loop; below 1 they keep to what is likely."""
    patience: int = 0
    """Control steps after which, if next to nothing has moved meanwhile, plans start from full noise. 0: they never do."""
    warm_start: float = 0.0
    """Share of the way from noise to plan that is spared in closed loop by starting from what is left of the plan before,
    with noise in it. 0: each plan starts from noise alone."""
    image_encoder: ImageEncoderConfig | None = None
    """How pictures are seen. null: none are observed, or they are as small as 32 x 32 and seen as plain numbers."""
    backbone: Backbone = field(default_factory=MLPConfig)
    members: int = 1
    """How many networks of this kind learn apart and are averaged. Each row that is learned is one member's: give
    `training.draws` as many, and every member sees every window."""
    objective: Objective = field(default_factory=FlowConfig)
    sampler: Sampler = "euler"
    """How noise becomes a plan; see `Sampler` for which belongs to which objective."""
    steps: int = 10
    """Network evaluations for one sample, unless asked otherwise."""

    @property
    def recorded_keys(self) -> tuple[str, ...]:
        """What training reads of a recording, beside actions: what is observed, and what supervises the image encoder."""
        extra = self.image_encoder.supervision if self.image_encoder else ()
        return self.observations + tuple(key for key in extra if key not in self.observations)

    def __post_init__(self) -> None:
        positive(self, "obs_horizon", "pred_horizon", "action_horizon", "steps")
        positive(self, "execution_speed", "members")
        not_negative(self, "noise_scale", "patience")
        shares(self, "warm_start")
        room = self.pred_horizon - self.obs_horizon + 1
        if self.action_horizon > room:
            raise ValueError(
                f"action_horizon {self.action_horizon} does not fit: x[0] belongs to the oldest observation, so at "
                f"most pred_horizon - obs_horizon + 1 = {room} actions lie ahead; lower it or raise pred_horizon"
            )
        if 1 + (self.action_horizon - 1) * self.execution_speed > room:
            raise ValueError(
                f"execution_speed {self.execution_speed:g} does not fit: {self.action_horizon} actions at this speed reach "
                f"beyond the {room} that lie ahead; lower it or action_horizon, or raise pred_horizon"
            )
        check_sampler(self.objective, self.sampler, self.steps, self.warm_start)
        if self.members > 1 and isinstance(self.objective, MixtureConfig):
            raise ValueError(
                "members: the mixtures of several networks have no mean, since their modes come in no order; set it to 1"
            )
        if isinstance(self.backbone, UNet1DConfig):
            factor = 2 ** (len(self.backbone.channels) - 1)
            if self.pred_horizon % factor:
                raise ValueError(
                    f"pred_horizon {self.pred_horizon} must be a multiple of {factor}: this U-Net halves it "
                    f"{len(self.backbone.channels) - 1} times"
                )
        if not self.observations:
            raise ValueError("observations is empty; name at least one key, such as 'state'")


@dataclass(frozen=True)
class DataConfig:
    """Which demonstrations, and what is done to them on the way into a batch."""

    __pydantic_config__ = STRICT_KEYS
    path: str = "pusht"
    """A folder, a zip, a URL or the name of a known set (`pusht` is the public human set)."""
    max_episodes: int | None = None
    """Train on so many episodes at most, drawn by split_seed (the paper's recipe: 90)."""
    validation_episodes: int = 4
    """Episodes held out of training, to watch the loss on them."""
    split_seed: int = 42
    """Of the draw of held-out and of training episodes."""
    mirror: bool = True
    """Show each window mirrored half of the time, where the task has a mirror."""
    observation_noise: float = 0.01
    """Standard deviation of the noise on features, in units of their half range."""
    count_padding: bool = True
    """Whether actions clamped at the end of an episode count in the loss. On the human set it is better that they do: they
    teach the policy to rest where the demonstration ended (measured: see the changelog)."""

    def __post_init__(self) -> None:
        not_negative(self, "observation_noise", "validation_episodes", "split_seed")
        if self.max_episodes is not None:
            positive(self, "max_episodes")


@dataclass(frozen=True)
class TrainingConfig:
    """The loop: how long, how fast, and when to look."""

    __pydantic_config__ = STRICT_KEYS
    steps: int = 12_000
    """Updates of the weights."""
    batch_size: int = 256
    """Windows in an update, in each process."""
    draws: int = 1
    """Noises and times drawn for each window of an update: where seeing costs more than denoising, as with pictures, one
    look teaches several times."""
    teacher: str | None = None
    """A checkpoint to learn from in place of the recorded actions: its plans, each with the noise it grew from
    (rectification; Liu et al. 2022). The way from noise to plan becomes straight, so that one or two network evaluations
    suffice."""
    learning_rate: float = 1e-3
    """The largest; it rises to it, then falls to zero along half a cosine."""
    warmup_steps: int = 500
    """Steps over which the learning rate rises."""
    weight_decay: float = 1e-4
    """Of AdamW, apart from the gradient."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of AdamW: decay of the averages of the gradient and of its square."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.999
    """Ceiling of the averaging; it rises to it as 1 - (1 + step)^-ema_power."""
    ema_power: float = 0.75
    """How fast the averaging rises to its ceiling."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """bfloat16 is autocast: weights stay float32. About three times as fast on recent CPUs and on GPUs."""
    compile: bool = False
    """Compile the backbone with torch.compile, which needs a C++ compiler and half a minute; `diffpolicy bench train
    --compile` measures whether that pays, and from how many steps on."""
    seed: int = 0
    """Of the first weights and of everything drawn in training."""
    log_every: int = 50
    """Steps between lines of log.jsonl."""
    validate_every: int = 1_000
    """Steps between losses on the held-out episodes."""
    evaluate_every: int = 0
    """Steps between closed-loop evaluations on the tuning seeds; 0: only at the end."""
    checkpoint_every: int = 1_000
    """Steps between checkpoints to resume from."""

    def __post_init__(self) -> None:
        positive(self, "steps", "batch_size", "draws", "learning_rate", "gradient_clip")
        positive(self, "log_every", "validate_every", "checkpoint_every")
        not_negative(self, "warmup_steps", "weight_decay", "ema_power", "evaluate_every")
        shares(self, "betas", "ema_decay")


@dataclass(frozen=True)
class EvaluationConfig:
    """The world the policy is tried in while it trains."""

    __pydantic_config__ = STRICT_KEYS
    env: str = "diffpolicy_envs:diffpolicy/PushT-v0"
    """A Gymnasium id, `module:id` when a module must be imported to register it."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of `gym.make`."""
    protocol: str | None = "gym_pusht"
    """Passed to `reset` as options["protocol"]; null for environments that have no protocols."""
    episodes: int = 50
    seed: int = 500_000
    """Tuning seeds: episode i starts from seed + i. Final scores use seeds from 100000."""

    def __post_init__(self) -> None:
        not_negative(self, "episodes", "seed")


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: data, policy, training and the world it is judged in."""

    __pydantic_config__ = STRICT_KEYS
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if self.training.teacher is not None and not isinstance(self.policy.objective, FlowConfig):
            raise ValueError(
                f"training.teacher is {self.training.teacher!r}, but policy.objective is {self.policy.objective.name!r}; "
                "only 'flow' can be made straight by a teacher's plans: choose it, or leave the teacher out"
            )
