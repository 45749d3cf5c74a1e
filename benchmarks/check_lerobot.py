"""Does LeRobot open what `diffpolicy demos convert` writes? Asks LeRobot's own loader, in an environment of its own.

    python benchmarks/check_lerobot.py [DEMOS] [--episodes 4] [--keep FOLDER]

Records a few episodes of Push-T (or takes those of DEMOS), converts them in three ways (video, exact video, png), and
compares every item that LeRobotDataset hands out, numbers and pictures, with what was recorded. The environment takes
2 GB with a torch for CPUs, more where pip finds one for CUDA only; decoding videos needs FFmpeg's libraries
(apt-get install ffmpeg).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import tyro
from diffpolicy_demos import create_store, open_store
from diffpolicy_demos.attributes import pusht_attrs
from diffpolicy_demos.convert import LerobotOptions, convert
from diffpolicy_demos.store import Store

from diffpolicy.benchmarking.peer_environment import make_environment, peers_folder, ready_python

#: What LeRobot's loader imports. LeRobot itself asks for an older torch than ours, for robots' drivers and for
#: trackers, so it is installed without its dependencies, as are the two packages that would bring another torch.
DEPENDENCIES = (
    f"torch=={version('torch').split('+')[0]}",
    "accelerate<2",
    "av",
    "datasets>=4,<5",
    "deepdiff",
    "draccus==0.10.0",
    "einops",
    "gymnasium",
    "huggingface_hub<1",
    "imageio",
    "jsonlines",
    "opencv-python-headless",
    "packaging",
    "pandas<3",
    "psutil",
    "pyarrow",
    "pyyaml",
    "safetensors",
    "termcolor",
)
ALONE = ("lerobot==0.4.4", "torchvision==0.28.0", "torchcodec==0.13.0")

#: Both sides decode the same file, but round colours in their own ways.
_DECODERS_AGREE = 3.0
WAYS = {"video": LerobotOptions(), "exact": LerobotOptions(crf=0), "png": LerobotOptions(video=False)}


@dataclass(frozen=True)
class Check:
    """Open converted demonstrations with LeRobot's own loader and compare every item."""

    demos: Annotated[str, tyro.conf.Positional] = ""
    """A store of Push-T, such as `pusht`; by default a few episodes are recorded with random actions."""
    episodes: int = 4
    """How many."""
    keep: Path | None = None
    """Where the stores and datasets stay; by default they are removed."""
    peer: Path | None = None
    """The Python of an environment that has LeRobot; by default one is made in the user's cache."""


def main(check: Check) -> None:
    """Runs the check and prints what it finds; ends with code 1 if anything differs that should not."""
    python = check.peer or _environment()
    with tempfile.TemporaryDirectory() as temporary:
        folder = check.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source = _source(check, folder / "source.zarr")
        for way, options in WAYS.items():
            done = convert(source.path, folder / way, options=options)
            print(
                f"{way}: {done.episodes} episodes, {done.steps} steps; {'; '.join(done.losses) or 'nothing was lost'}"
            )
        np.savez(folder / "expected.npz", **_expected(source))
        decoded = convert(folder / "video", folder / "decoded.zarr").path
        np.savez(folder / "decoded.npz", **{**_expected(source), "observation.image": open_store(decoded)["pixels"][:]})
        right = _report(_ask(python, folder / "expected.npz", [folder / way for way in WAYS]))
        print("LeRobot's decoder against ours, on the same video:")
        right &= _report(_ask(python, folder / "decoded.npz", [folder / "video"]), lossy=_DECODERS_AGREE)
    print("LeRobot reads it all as it was recorded" if right else "LeRobot reads something else than was recorded")
    raise SystemExit(0 if right else 1)


def _environment() -> Path:
    folder = peers_folder() / "lerobot"
    python = ready_python(folder, DEPENDENCIES)
    if python is None:
        print(f"making LeRobot's environment in {folder}; this can take minutes", file=sys.stderr)
        python = make_environment(folder, DEPENDENCIES)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *ALONE]
    subprocess.run(install, check=True)
    return python


def _source(check: Check, path: Path) -> Store:
    """The episodes to convert, as a store of their own."""
    given = open_store(check.demos) if check.demos else None
    with create_store(path, attrs=pusht_attrs("benchmarks/check_lerobot.py")) as store:
        for index in range(check.episodes):
            if given is None:
                store.append_episode(_random_episode(index), {"seed": index, "success": False})
            else:
                keys = [key for key in given.stored_keys if key != "agent_pos"]
                store.append_episode(given.episode(index, keys), given.episode_info(index))
    return open_store(path)


def _random_episode(seed: int) -> dict[str, Any]:
    """A walk of the agent, of another length for each seed, seen as numbers and as pictures."""
    worlds = {obs_type: gymnasium.make("diffpolicy/PushT-v0", obs_type=obs_type) for obs_type in ("state", "pixels")}
    seen = {obs_type: [world.reset(seed=seed)[0]] for obs_type, world in worlds.items()}
    rng = np.random.default_rng(seed)
    actions = np.clip(256 + np.cumsum(rng.normal(0, 30, (20 + 15 * seed, 2)), axis=0), 0, 512)
    for action in actions[:-1]:
        for obs_type, world in worlds.items():
            seen[obs_type].append(world.step(action)[0])
    episode = {"state": np.array(seen["state"]), "action": actions}
    return {key: values.astype(np.float32) for key, values in episode.items()} | {"pixels": np.array(seen["pixels"])}


def _expected(store: Store) -> dict[str, Any]:
    features = {"action": "action", "state": "observation.state", "keypoints": "observation.environment_state"}
    known = {features[key]: store[key][:] for key in store.stored_keys if key in features}
    pictures = store.read("pixels", 0, store.n_steps)
    return {"lengths": store.episode_lengths, "observation.image": pictures, **known}


def _ask(python: Path, expected: Path, folders: list[Path]) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("peer_lerobot.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(expected.parent / "hf")}  # no network, no cache
    command = [str(python), "-I", str(script), str(expected), *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"LeRobot failed to read what was written (its own words are above); {python}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _report(answers: list[dict[str, Any]], lossy: float | None = None) -> bool:
    """Prints the answers; whether numbers are equal everywhere, and pictures where they should be."""
    right = True
    for answer in answers:
        if "versions" in answer:
            if lossy is None:
                print(", ".join(f"{name} {number}" for name, number in answer["versions"].items()))
            continue
        way = Path(answer["folder"]).name
        different = [name for name, same in answer["numbers"].items() if not same]
        numbers = "differ in " + ", ".join(different) if different else f"equal ({', '.join(answer['numbers'])})"
        print(
            f"  {way}: {answer['items']} items of {answer['episodes']} episodes; "
            f"numbers {numbers}; "
            f"pictures off by {answer['pictures_mean']:.3f} grey levels, {answer['pictures_worst']:.0f} at most; "
            f"windows {'padded' if answer['padded_past_the_end'] else 'NOT padded'} past the end; "
            f"statistics {'right' if answer['statistics'] else 'WRONG'}; task {answer['task']!r}"
        )
        exact = way != "video" and answer["pictures_worst"] > 0
        apart = lossy is not None and answer["pictures_worst"] > lossy
        right &= not different and not exact and not apart and answer["padded_past_the_end"] and answer["statistics"]
    return right


if __name__ == "__main__":
    main(tyro.cli(Check))
