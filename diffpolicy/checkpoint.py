"""A policy on disk: a folder with `model.safetensors`, `config.json` and `card.md`. Nothing in it is ever unpickled.

`config.json` carries a digest of the weights and of itself, so that an altered or mixed-up file is noticed before a robot
moves. Opening one imports the task that `config.json` names, and an image encoder's network if that is its owner's own, so
open a stranger's checkpoint only after a look at that file. A folder is written under a temporary name and then renamed: a
reader sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import config_from_dict, config_to_dict
from diffpolicy.device import chosen_device
from diffpolicy.errors import CheckpointError, ConfigError, suggestion
from diffpolicy.policy import DiffusionPolicy

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.md"
_RETIRED: Mapping[str, float] = {"samples": 1, "noise_kept": 0.0}
"""Settings that policies had once, at the value at which they changed nothing: such a checkpoint acts as it did."""


def save_checkpoint(
    folder: Path,
    policy: DiffusionPolicy,
    experiment: ExperimentConfig,
    *,
    card: str,
    half: bool = False,
    trained: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, Mapping[str, torch.Tensor] | Mapping[str, Any]] | None = None,
) -> None:
    """Write a policy, its experiment and its card.

    Args:
        folder: where; an existing checkpoint there is replaced once the new one is complete.
        policy: weights and normalizer.
        experiment: what made them.
        card: Markdown for people.
        half: store the network's weights in half precision (the normalizer stays float32).
        trained: facts about the training for `config.json`, such as steps done.
        extra_files: more files by name: tensors for `.safetensors`, plain data for `.json`.

    Raises:
        OSError: no space or no permission; an existing checkpoint is left as it was.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + ".partial")
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        weights = {name: _stored(name, value, half) for name, value in policy.state_dict().items()}
        _write_tensors(partial / WEIGHTS, weights)
        for name, content in (extra_files or {}).items():
            if name.endswith(".safetensors"):
                _write_tensors(partial / name, content)
            else:
                (partial / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
        meta = {
            "format": FORMAT,
            "experiment": config_to_dict(experiment),
            "obs_shapes": {key: list(shape) for key, shape in policy.recorded_shapes.items()},
            "action_dim": policy.action_dim,
            "trained": dict(trained or {}),
            "sha256": {path.name: _digest(path) for path in sorted(partial.iterdir())},
        }
        meta["identity"] = _identity(meta)
        (partial / CONFIG).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        (partial / CARD).write_text(card, encoding="utf-8")
    except SafetensorError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"cannot write {folder}: {error}") from None
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)  # a crash between these two lines leaves `previous`, which reading falls back to
    partial.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def load_policy(name_or_folder: str | Path, device: str | torch.device = "cpu") -> DiffusionPolicy:
    """Open a released policy by name (`pusht-state`) or a checkpoint by its folder, ready to sample.

    A run's folder works too: its last checkpoint is taken.

    Raises:
        CheckpointError: no such checkpoint, or a file that is missing, altered or of another format.
    """
    chosen = chosen_device(device) if isinstance(device, str) else device
    policy, _ = load_checkpoint(find_checkpoint(name_or_folder), chosen)
    return policy.eval().requires_grad_(False)


def load_checkpoint(folder: Path, device: str | torch.device = "cpu") -> tuple[DiffusionPolicy, dict[str, Any]]:
    """The policy in a folder and the contents of its `config.json`, with `experiment` as an `ExperimentConfig`."""
    meta = read_meta(folder)
    experiment = meta["experiment"]
    try:
        policy = DiffusionPolicy(
            experiment.policy, {k: tuple(v) for k, v in meta["obs_shapes"].items()}, meta["action_dim"]
        )
        weights = load_file(folder / WEIGHTS)
        policy.load_state_dict({name: value.float() for name, value in weights.items()})
    except (SafetensorError, RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{folder}: cannot be used: {' '.join(str(error).split())}") from None
    return policy.to(device), meta


def read_meta(folder: Path) -> dict[str, Any]:
    """Check a checkpoint's files against their digests and read its `config.json`."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing; a checkpoint holds {WEIGHTS}, {CONFIG} and {CARD}")
    try:
        meta = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        stored_format, identity, digests = meta["format"], meta.pop("identity"), dict(meta["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: not a checkpoint's config ({error!r})") from None
    if stored_format != FORMAT:
        raise CheckpointError(f"{folder / CONFIG}: format {stored_format}, but this version reads {FORMAT}; update")
    if identity != _identity(meta):
        raise CheckpointError(f"{folder / CONFIG}: altered since it was written; restore it, or train anew")
    check_files(folder, {WEIGHTS: digests.get(WEIGHTS)})
    stored = meta["experiment"]
    policy = {key: value for key, value in stored["policy"].items() if key not in _RETIRED or _RETIRED[key] != value}
    meta["experiment"] = config_from_dict(stored | {"policy": policy}, str(folder / CONFIG))
    return meta | {"identity": identity}


def check_files(folder: Path, digests: Mapping[str, str | None]) -> None:
    """Compare files with the digests that `config.json` gives for them.

    Raises:
        CheckpointError: a file is missing or another than was written.
    """
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing; restore it, or train anew")
        if _digest(folder / name) != digest:
            raise CheckpointError(f"{folder / name}: altered since it was written (SHA-256 differs); restore it")


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint: a released name, a checkpoint's folder, or a run's folder (its last)."""
    given = Path(name_or_folder)
    released = Path(__file__).parent / "pretrained"
    for folder in (given, given / "last", released / str(name_or_folder)):
        for candidate in (folder, folder.parent / f"{folder.name}.previous"):
            if (candidate / CONFIG).is_file() or (candidate / WEIGHTS).is_file():
                return candidate
    if given.exists():
        raise CheckpointError(f"{given}: no checkpoint in it; one holds {WEIGHTS}, {CONFIG} and {CARD}")
    names = sorted(p.parent.name for p in released.glob(f"*/{CONFIG}"))
    hint = suggestion(str(name_or_folder), names, f"released: {', '.join(names) or 'none'}")
    raise CheckpointError(f"no checkpoint {str(name_or_folder)!r}: give a folder or a released name; {hint}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]


def _stored(name: str, value: torch.Tensor, half: bool) -> torch.Tensor:
    keep = not half or name.startswith("normalizer.") or not value.is_floating_point()
    return (value if keep else value.half()).detach().cpu().contiguous()


def _write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    # Not safetensors' own save_file: that makes files which only their owner may read.
    path.write_bytes(save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}))
