"""A checkpoint comes back as it was written, or not at all and with one line that says why."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from diffpolicy import checkpoint as module
from diffpolicy.checkpoint import find_checkpoint, load_checkpoint, load_policy, read_meta, save_checkpoint
from diffpolicy.errors import CheckpointError
from diffpolicy.policy import DiffusionPolicy

Make = Callable[..., Path]


def plans(policy: DiffusionPolicy) -> torch.Tensor:
    """A few plans for a few situations, always with the same noise."""
    situation = torch.linspace(0, 1, 3 * 2 * 18).view(3, 2, 18)
    parts = {"keypoints": situation * 400, "agent_pos": situation[..., :2] * 400, "state": situation[..., :5] * 400}
    shaped = {"keypoints": (3, 2, 9, 2), "agent_pos": (3, 2, 2), "state": (3, 2, 5)}
    obs = {key: parts[key].reshape(shaped[key]) for key in policy.obs_shapes}
    return policy.sample(obs, n=4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("observations", [["state"], ["keypoints", "agent_pos"]])
def test_what_is_loaded_samples_as_what_was_saved(
    observations: list[str], tiny: Any, make_policy: Any, tmp_path: Path
) -> None:
    config = tiny(policy={"observations": observations}, description="ä name")
    policy = make_policy(config)
    save_checkpoint(tmp_path / "a" / "b", policy, config, card="# Card\n", trained={"steps": 7})
    assert torch.equal(plans(load_policy(tmp_path / "a" / "b")), plans(policy))
    meta = read_meta(tmp_path / "a" / "b")
    assert meta["experiment"] == config
    assert meta["trained"] == {"steps": 7}
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["card.md", "config.json", "model.safetensors"]
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_loaded_policy_is_ready_for_use(make_checkpoint: Make) -> None:
    policy = load_policy(make_checkpoint(policy={"backbone": {"dropout": 0.5}}))
    assert not policy.training
    assert not any(parameter.requires_grad for parameter in policy.parameters())


def test_half_precision_is_smaller_and_nearly_the_same(make_checkpoint: Make) -> None:
    wide = {"policy": {"backbone": {"width": 64}}}
    whole, half = make_checkpoint("whole", **wide), make_checkpoint("half", half=True, **wide)
    size = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert size[1] < 0.55 * size[0]
    a, b = load_policy(whole), load_policy(half)
    assert {value.dtype for value in b.state_dict().values()} == {torch.float32}
    assert torch.equal(a.normalizer.action_center, b.normalizer.action_center)
    difference_px = (plans(a) - plans(b)).abs().max()
    assert 0 < difference_px < 2.0


def test_the_identity_tells_policies_apart(make_checkpoint: Make) -> None:
    identities = [
        read_meta(make_checkpoint(name, **change))["identity"]
        for name, change in (("a", {}), ("b", {}), ("c", {"policy": {"action_horizon": 3}}), ("d", {"half": True}))
    ]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights missing": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "config missing": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "a bit of the weights": (lambda f: _flip(f / "model.safetensors"), r"model\.safetensors: altered .*SHA-256"),
    "weights cut short": (
        lambda f: os.truncate(f / "model.safetensors", 100),
        r"model\.safetensors: altered since it was written",
    ),
    "config edited": (
        lambda f: _edit(f / "config.json", '"action_horizon": 8', '"action_horizon": 7'),
        r"config\.json: altered since it was written",
    ),
    "another format": (
        lambda f: _edit(f / "config.json", '"format": 1', '"format": 2'),
        r"config\.json: format 2, but this version reads 1",
    ),
    "config cut short": (lambda f: os.truncate(f / "config.json", 50), r"config\.json: not a checkpoint's config"),
    "config of something else": (
        lambda f: (f / "config.json").write_text("[1, 2]"),
        r"config\.json: not a checkpoint's",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_in_one_line(
    damage: Callable[[Path], object], message: str, make_checkpoint: Make
) -> None:
    folder = make_checkpoint()
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_policy(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_weights_of_another_policy_are_refused(make_checkpoint: Make) -> None:
    state, keypoints = make_checkpoint("s"), make_checkpoint("k", policy={"observations": ["keypoints", "agent_pos"]})
    shutil.copy(keypoints / "model.safetensors", state / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: altered"):
        load_policy(state)


@pytest.mark.parametrize("name", [".", "..", "/", "", "runs/nothing", "pusht-nothing-like-it"])
def test_where_there_is_no_checkpoint_that_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(CheckpointError, match="no checkpoint") as caught:
        load_policy(name)
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_is_corrected(make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint("pretrained/pusht-state")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "checkpoint.py"))
    assert find_checkpoint("pusht-state") == tmp_path / "pretrained" / "pusht-state"
    with pytest.raises(CheckpointError, match=r"'pusht-stat'.*did you mean 'pusht-state'"):
        load_policy("pusht-stat")


def test_a_run_gives_its_last(make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, best = make_checkpoint("run/last"), make_checkpoint("run/best")
    assert find_checkpoint(tmp_path / "run") == last
    assert find_checkpoint(best) == best
    assert find_checkpoint(last) == last
    monkeypatch.chdir(last)
    assert load_policy(".").obs_shapes == {"state": (5,)}


def test_a_crash_between_the_renames_loses_nothing(make_checkpoint: Make, tiny: Any, make_policy: Any) -> None:
    folder = make_checkpoint("run/last")
    expected = plans(load_policy(folder))
    folder.rename(folder.with_name("last.previous"))
    assert torch.equal(plans(load_policy(folder)), expected)
    assert torch.equal(plans(load_policy(folder.parent)), expected)
    save_checkpoint(folder, make_policy(tiny(), seed=1), tiny(), card="")
    assert not torch.equal(plans(load_policy(folder)), expected)
    assert os.listdir(folder.parent) == ["last"]


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error")])
def test_a_write_that_fails_leaves_the_old_one(
    error: Exception,
    existing: bool,
    make_checkpoint: Make,
    tiny: Any,
    make_policy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_checkpoint("run/last") if existing else tmp_path / "run" / "last"
    expected = plans(load_policy(folder)) if existing else None

    def fail(_tensors: object) -> bytes:
        raise error

    monkeypatch.setattr(module, "save", fail)
    with pytest.raises(OSError, match=r"No space left|I/O error"):
        save_checkpoint(folder, make_policy(tiny(), seed=1), tiny(), card="")
    assert os.listdir(folder.parent) == (["last"] if existing else [])
    if expected is not None:
        assert torch.equal(plans(load_policy(folder)), expected)


def test_a_crash_in_the_middle_of_writing_leaves_the_old_one(
    make_checkpoint: Make, tiny: Any, make_policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint("run/last")
    expected = plans(load_policy(folder))

    def die(_tensors: object) -> bytes:
        raise KeyboardInterrupt

    real = module.save
    monkeypatch.setattr(module, "save", die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, make_policy(tiny(), seed=1), tiny(), card="")
    assert torch.equal(plans(load_policy(folder)), expected)
    monkeypatch.setattr(module, "save", real)
    save_checkpoint(folder, make_policy(tiny(), seed=1), tiny(), card="")
    assert os.listdir(folder.parent) == ["last"]


def test_extra_files_travel_with_it(tiny: Any, make_policy: Any, tmp_path: Path) -> None:
    files: dict[str, Any] = {"more.safetensors": {"a": torch.arange(3)}, "more.json": {"b": 1}}
    save_checkpoint(tmp_path / "c", make_policy(tiny()), tiny(), card="", extra_files=files)
    assert json.loads((tmp_path / "c" / "more.json").read_text()) == {"b": 1}
    assert load_checkpoint(tmp_path / "c")[1]["action_dim"] == 2


def test_it_acts_without_the_files_that_only_a_resume_needs(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any
) -> None:
    run_training(tiny(), make_store(), tmp_path / "run", stop_after=2)
    last = tmp_path / "run" / "last"
    expected = plans(load_policy(last))
    for name in ("training.safetensors", "training.json"):
        (last / name).unlink()
    assert torch.equal(plans(load_policy(last)), expected)


def test_others_may_read_it(make_checkpoint: Make) -> None:
    before = os.umask(0o022)
    try:
        folder = make_checkpoint("shared")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
