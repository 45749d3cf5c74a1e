"""What a run needs to go on as if it had never stopped: raw weights, moments, averages, and every generator's state.

Plain tensors and JSON. (`Accelerator.save_state` would do it with pickle, which this project never loads.)
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diffpolicy.checkpoint import check_files, load_checkpoint
from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import CheckpointError
from diffpolicy.training.learner import Learner

TENSORS, STATE = "training.safetensors", "training.json"


def generator_states(generator: torch.Generator) -> dict[str, str]:
    """The states of the training generator and of torch's own (dropout draws from it), as text."""
    states = {"training": generator.get_state(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: base64.b64encode(bytes(state.tolist())).decode() for name, state in states.items()}


def restore_generators(states: dict[str, str], generator: torch.Generator) -> None:
    """The inverse of `generator_states`."""
    tensors = {n: torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8) for n, text in states.items()}
    generator.set_state(tensors["training"])
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Raw weights by name, and the optimizer's moments by the name of the weight they belong to."""
    tensors: dict[str, Tensor] = {f"weights/{name}": parameter for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = value
    return tensors


def read_training(folder: Path, digests: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The two files that a resume needs, checked against their digests.

    Raises:
        CheckpointError: they are missing (a released checkpoint has none) or altered.
    """
    for name in (TENSORS, STATE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder}: {name} is missing, so training cannot resume here; --init-from {folder} starts a new run "
                "from its weights"
            )
    check_files(folder, {name: digests.get(name) for name in (TENSORS, STATE)})
    return load_file(folder / TENSORS), json.loads((folder / STATE).read_text(encoding="utf-8"))


def restore_training(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of `training_tensors`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"weights/{name}"])
            moments = {key.split("/", 1)[0]: value for key, value in tensors.items() if key.endswith(f"/{name}")}
            moments.pop("weights")
            if moments:
                optimizer.state[parameter] = {m: _laid_out_as(parameter, v) for m, v in moments.items()}


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    # The fused optimizer walks through weights and moments alike: another order in memory would mix them up unnoticed.
    if moment.shape != parameter.shape:
        return moment.to(parameter.device, copy=True)
    return torch.empty_like(parameter).copy_(moment)


def resume_run(learner: Learner, folder: Path) -> dict[str, Any]:
    """Bring everything of a run to where a checkpoint left it; returns its progress.

    Raises:
        CheckpointError: the checkpoint cannot be resumed, or not as this experiment or by so many processes.
    """
    process, processes = learner.accelerator.process_index, learner.accelerator.num_processes
    stored, meta = load_checkpoint(folder, learner.policy.device)
    tensors, state = read_training(folder, meta["sha256"])
    _check_same_run(folder, learner.config, meta["experiment"], state["step"])
    states = state.pop("generators")
    if processes != len(states):
        raise CheckpointError(f"{folder}: written by {len(states)} process(es), resumed by {processes}; use as many")
    for module in (learner.policy, learner.averaged):
        module.load_state_dict(stored.state_dict())
    restore_training(tensors, learner.policy, learner.optimizer)
    learner.ema.load(stored.parameters(), state.pop("ema_step"))
    learner.step_number = state["step"]
    restore_generators(states[process], learner.generator)
    return state


_MAY_CHANGE = ("steps", "log_every", "validate_every", "evaluate_every", "checkpoint_every")


def _check_same_run(folder: Path, config: ExperimentConfig, stored: ExperimentConfig, step: int) -> None:
    """A resumed run is the same experiment; only where the data lies, when to look and how long may change."""
    if config.training.steps < step:
        raise CheckpointError(
            f"{folder}: at step {step} already, past training.steps {config.training.steps}; raise it"
        )
    free = {name: getattr(config.training, name) for name in _MAY_CHANGE}
    allowed = dataclasses.replace(
        stored,
        description=config.description,
        evaluation=config.evaluation,
        data=dataclasses.replace(stored.data, path=config.data.path),
        training=dataclasses.replace(stored.training, **free),
    )
    for room in ("data", "policy", "training"):
        now, then = getattr(config, room), getattr(allowed, room)
        for name in (field.name for field in dataclasses.fields(now)):
            if getattr(now, name) != getattr(then, name):
                raise CheckpointError(
                    f"{folder}: its {room}.{name} is {getattr(then, name)}, not {getattr(now, name)}; a resumed run keeps "
                    "it: leave it out, or start a new run with --init-from"
                )
