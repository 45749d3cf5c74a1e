"""What a run needs to go on as if it had never stopped: raw weights, moments, averages, and every generator's state.

Plain tensors and JSON. (`Accelerator.save_state` would do it with pickle, which this project never loads.)
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diffpolicy.errors import CheckpointError

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


def read_training(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The two files that a resume needs, of a checkpoint whose digests were checked.

    Raises:
        CheckpointError: they are missing (a released checkpoint has none).
    """
    for name in (TENSORS, STATE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder}: {name} is missing, so training cannot resume here; --init-from {folder} starts a new run "
                "from its weights"
            )
    return load_file(folder / TENSORS), json.loads((folder / STATE).read_text(encoding="utf-8"))


def restore_training(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of `training_tensors`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"weights/{name}"])
            moments = {key.split("/", 1)[0]: value for key, value in tensors.items() if key.endswith(f"/{name}")}
            moments.pop("weights")
            if moments:
                optimizer.state[parameter] = {m: v.to(parameter.device, copy=True) for m, v in moments.items()}
