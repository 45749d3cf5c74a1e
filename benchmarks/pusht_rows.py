"""The rows of the Push-T benchmark: each an experiment of `configs/` with some changes, and how it is scored.

One row differs from its neighbours in one thing. Rules, stated before any score was seen: the last checkpoint counts,
never the best; recipes and baselines are scored on the final seeds; whatever helped to choose a recipe is scored on the
tuning seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tried import EnsembledOverTime, KeptNoise, MostCoherent


@dataclass(frozen=True)
class Row:
    """An experiment, trained with some seeds and scored."""

    about: str
    experiment: str = "pusht_state_mlp"
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the experiment, with dots, and their values."""
    steps: tuple[int, ...] = (10,)
    """Network evaluations a plan, each scored."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    teacher: str | None = None
    """The row whose policy of the same seed this one learns from."""
    begins: str | None = None
    """The row whose policy of the same seed this one starts from."""
    of: str | None = None
    """The row whose policies are scored, with `acting`; nothing is trained then."""
    acting: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the evaluation that differ from the experiment's own."""
    episodes: int = 1000
    seed: int = 100_000


_QUIET = {"training.evaluate_every": 0, "evaluation.episodes": 0}
"""Nothing is chosen by scores while training, so none are taken."""
_AS_CLONED = {"policy.sampler": "direct", "policy.action_horizon": 6, "policy.execution_speed": 2.0}
"""Policies that draw no noise act best by other settings, so they act by theirs (tried: 1 x 8, 2 x 4, 2 x 6, 3 x 3)."""
_ONE_LOOK = {**_AS_CLONED, "policy.steps": 1}
_SINGLE = {
    "policy.members": 1,
    "policy.patience": 0,
    "training.draws": 1,
    "training.steps": 6000,
    "policy.backbone.width": 512,
    "policy.backbone.cond_width": 256,
}
"""One network in place of several: what baselines and ablations are measured with, since it trains in half the time."""


def _tuning(about: str, **more: Any) -> Row:
    changes = {**_QUIET, **_SINGLE, **more.pop("changes", {})}
    return Row(about, **{"seeds": (0,), "episodes": 500, "seed": 500_000, **more}, changes=changes)


def _acting(about: str, steps: tuple[int, ...] = (10,), **acting: Any) -> Row:
    return Row(about, of="single", acting=acting, steps=steps, episodes=500, seed=500_000, seeds=(0,))


RECIPES: dict[str, Row] = {
    "state": Row(
        "the recipe: flow matching, the mean of three residual MLPs, width 384", changes=_QUIET, steps=(10, 4, 2, 1)
    ),
    "state-warm": Row(
        "the recipe's policies in few evaluations: half of the way spared by the plan before, 4 actions at twice the speed",
        of="state",
        acting={"warm_start": 0.5, "action_horizon": 4, "speed": 2.0},
        steps=(4, 2, 1),
    ),
    "state-fast": Row(
        "the flow of `single` made straight (reflow)",
        "pusht_state_mlp_fast",
        steps=(10, 4, 2, 1),
        teacher="single",
        begins="single",
    ),
    "pixels": Row(
        "pictures and the agent's position", "pusht_pixels_mlp", changes=_QUIET, steps=(10, 4, 2, 1), seeds=(0,)
    ),
    "expert": Row("the bundled expert set", "pusht_state_mlp_expert", changes=_QUIET, steps=(10, 4, 2, 1)),
}

BASE: dict[str, Row] = {
    "single": Row("one residual MLP, width 512", changes={**_QUIET, **_SINGLE}, steps=(10, 4, 2, 1)),
}
"""What baselines and ablations differ from."""

OBJECTIVES: dict[str, Row] = {
    "edm": Row(
        "EDM, DPM-Solver++(2M)",
        changes={**_QUIET, **_SINGLE, "policy.objective": {"name": "edm"}, "policy.sampler": "dpmpp_2m"},
        steps=(10, 4, 2, 1),
        seeds=(0,),
    ),
    "ddpm": Row(
        "DDPM (epsilon), DDIM",
        changes={**_QUIET, **_SINGLE, "policy.objective": {"name": "ddpm"}, "policy.sampler": "ddim"},
        steps=(10, 4, 2, 1),
        seeds=(0,),
    ),
    "ddpm-v": Row(
        "DDPM (v), DDIM",
        changes={
            **_QUIET,
            **_SINGLE,
            "policy.objective": {"name": "ddpm", "prediction": "v"},
            "policy.sampler": "ddim",
        },
        steps=(10, 4, 2, 1),
        seeds=(0,),
    ),
    "mse": Row(
        "cloning by squared error",
        changes={**_QUIET, **_SINGLE, **_ONE_LOOK, "policy.objective": {"name": "regression"}},
        steps=(1,),
    ),
    "l1": Row(
        "cloning by absolute error",
        changes={**_QUIET, **_SINGLE, **_ONE_LOOK, "policy.objective": {"name": "regression", "error": "absolute"}},
        steps=(1,),
    ),
    "mixture": Row(
        "mixture density, 5 modes",
        changes={**_QUIET, **_SINGLE, **_ONE_LOOK, "policy.objective": {"name": "mixture"}},
        steps=(1,),
    ),
    "two-looks": Row(
        "minimal iterative policy",
        changes={
            **_QUIET,
            **_SINGLE,
            **_AS_CLONED,
            "policy.steps": 2,
            "policy.objective": {"name": "regression", "second_look": 0.1},
        },
        steps=(2,),
    ),
}

NETWORKS: dict[str, Row] = {
    "transformer": Row(
        "diffusion transformer, 3.6M parameters, trained in bfloat16",
        changes={**_QUIET, **_SINGLE, "policy.backbone": {"name": "transformer"}, "training.precision": "bfloat16"},
        seeds=(0,),
    ),
    "unet": Row(
        "U-Net over time, channels 64, 128, 256, 5.4M parameters, trained in bfloat16",
        changes={
            **_QUIET,
            **_SINGLE,
            "policy.backbone": {"name": "unet1d", "channels": (64, 128, 256)},
            "training.precision": "bfloat16",
        },
        seeds=(0,),
    ),
    "keypoints": Row(
        "nine keypoints in place of corners",
        "pusht_keypoints_mlp",
        changes=_QUIET,
        seeds=(0,),
    ),
    "paper-choices": Row(
        "what the paper chose (keypoints, 90 episodes, no mirror, no noise, DDPM, 8 actions at the demonstrated speed) with "
        "one residual MLP, trained as `single`",
        "pusht_keypoints_mlp",
        changes={
            **_QUIET,
            "data.max_episodes": 90,
            "data.mirror": False,
            "data.observation_noise": 0.0,
            "policy.objective": {"name": "ddpm"},
            "policy.sampler": "ddpm",
            "policy.steps": 100,
            "policy.action_horizon": 8,
            "policy.execution_speed": 1.0,
            "policy.noise_scale": 1.0,
        },
        steps=(100,),
        seeds=(0,),
    ),
    "paper": Row(
        "the paper's own recipe: keypoints, U-Net (256, 512, 1024), DDPM, 90 episodes",
        "pusht_keypoints_unet_paper",
        steps=(100,),
        seeds=(),  # days on a CPU: ask for it with --seeds 0
    ),
}

TRAINING: dict[str, Row] = {
    "no-mirror": _tuning("without the mirror", changes={"data.mirror": False}),
    "no-noise": _tuning("without noise on observations", changes={"data.observation_noise": 0.0}),
    "masked": _tuning("clamped actions left out of the loss", changes={"data.count_padding": False}),
    "90-episodes": _tuning("the paper's 90 episodes", changes={"data.max_episodes": 90}),
    "one-observation": _tuning("one observation in place of two", changes={"policy.obs_horizon": 1}),
    "uniform-times": _tuning(
        "times drawn uniformly", changes={"policy.objective": {"name": "flow", "time_distribution": "uniform"}}
    ),
    "dropout": _tuning("dropout 0.1", changes={"policy.backbone": {"name": "mlp", "dropout": 0.1}}),
}

CONTROLLER: dict[str, Row] = {
    "as-configured": _acting("3 actions at three times the speed, noise of standard deviation 0.5", (10, 2, 1)),
    "warm-start": _acting("half of the way spared by the plan before", (10, 2, 1), warm_start=0.5),
    "noise-scale-1": _acting("noise of standard deviation 1", noise_scale=1.0),
    "noise-scale-0.7": _acting("noise of standard deviation 0.7", noise_scale=0.7),
    "noise-scale-0.3": _acting("noise of standard deviation 0.3", noise_scale=0.3),
    "noise-scale-0": _acting("no noise", noise_scale=0.0),
    "speed-2": _acting("4 actions at twice the speed", speed=2.0, action_horizon=4),
    "speed-1": _acting("8 actions as fast as demonstrated", speed=1.0, action_horizon=8),
    "execute-2": _acting("2 actions", action_horizon=2),
    "execute-4": _acting("4 actions", action_horizon=4),
    "patience-15": _acting("full noise after 15 steps in which nothing moved far", patience=15),
    "patience-30": _acting("full noise after 30 such steps", patience=30),
    "noise-kept-0.3": _acting(
        "each plan's noise correlated 0.3 with the last one's", controller=partial(KeptNoise, kept=0.3)
    ),
    "noise-kept-0.9": _acting(
        "each plan's noise correlated 0.9 with the last one's", controller=partial(KeptNoise, kept=0.9)
    ),
    "samples-4": _acting("the most coherent of 4 plans", controller=partial(MostCoherent, samples=4)),
    "ensembled": _acting(
        "the mean of all plans for a moment, weights exp(-age)", controller=partial(EnsembledOverTime, decay=1.0)
    ),
    "heun": _acting("Heun's method", sampler="heun"),
    "dpmpp-2m": _acting("DPM-Solver++(2M)", sampler="dpmpp_2m"),
}

RECIPE_ACTING: dict[str, Row] = {
    "state-tuning": Row("the recipe as configured, patience 15", of="state", episodes=500, seed=500_000),
    "no-patience": Row("no patience", of="state", acting={"patience": 0}, episodes=500, seed=500_000),
}
"""What was chosen with the recipe itself."""

TABLES: dict[str, dict[str, Row]] = {
    "recipes": RECIPES,
    "base": BASE,
    "objectives": OBJECTIVES,
    "networks": NETWORKS,
    "training": TRAINING,
    "controller": CONTROLLER,
    "recipe acting": RECIPE_ACTING,
}
ROWS: dict[str, Row] = {name: row for table in TABLES.values() for name, row in table.items()}
