"""Training as `diffpolicy train` does it, a step at a time: shipped experiments on demonstrations that are always there."""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from accelerate import Accelerator
from diffpolicy_demos import open_store

from diffpolicy.config import ExperimentConfig, MLPConfig, UNet1DConfig
from diffpolicy.config_file import load_config
from diffpolicy.policy import Batch
from diffpolicy.training.batches import Batches
from diffpolicy.training.learner import Learner, new_policy
from diffpolicy.training.windows import Windows, load_windows

#: Network to the experiment that it is taken from. Both learn from the bundled demonstrations, which hold `state`.
EXPERIMENTS: Final = {"mlp": "demo", "unet1d": "pusht_keypoints_unet_paper"}


class OurTraining:
    """A policy, its batches and its learner, as `diffpolicy train` has them.

    Args:
        config: The experiment.
        windows: What to learn from.
        device: Where.
        learner: Another's, to learn with batches of another size; None: a new policy and its own.
    """

    def __init__(
        self, config: ExperimentConfig, windows: Windows, device: torch.device, learner: Learner | None = None
    ) -> None:
        self.config = config
        if learner is None:
            torch.manual_seed(config.training.seed)
            accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
            learner = Learner(config, new_policy(config, windows), accelerator)
        self.learner, self.policy = learner, learner.policy
        self.batches = Batches(windows, config, device)
        self._steps = 0

    def draw(self) -> Batch:
        """The next batch."""
        self._steps += 1
        return self.batches.draw(self._steps - 1)

    def step(self) -> None:
        """Draws a batch and learns from it."""
        self.learner.step(self.draw())


def experiment(network: str, *, batch: int, width: int | None = None) -> ExperimentConfig:
    """A network's shipped experiment, on the bundled demonstrations.

    Args:
        network: A key of `EXPERIMENTS`.
        batch: Windows in a step.
        width: Of the network: of an MLP's residual stream, or of a U-Net's first level; None: as shipped.
    """
    shipped = load_config(EXPERIMENTS[network])
    backbone = shipped.policy.backbone
    if width is not None and isinstance(backbone, MLPConfig):
        backbone = dataclasses.replace(backbone, width=width)
    elif width is not None and isinstance(backbone, UNet1DConfig):
        backbone = dataclasses.replace(backbone, channels=(width, 2 * width, 4 * width))
    return dataclasses.replace(
        shipped,
        data=dataclasses.replace(shipped.data, path="pusht-expert"),
        policy=dataclasses.replace(shipped.policy, observations=("state",), backbone=backbone),
        training=dataclasses.replace(shipped.training, batch_size=batch),
    )


def open_windows(config: ExperimentConfig) -> Windows:
    """The windows that an experiment learns from.

    Raises:
        StoreError: The bundled demonstrations are not there.
    """
    policy = config.policy
    store = open_store(config.data.path)
    horizons = {"obs_horizon": policy.obs_horizon, "pred_horizon": policy.pred_horizon}
    return load_windows(store, config.data, policy.recorded_keys, **horizons)[0]
