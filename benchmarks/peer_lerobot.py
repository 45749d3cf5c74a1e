"""Runs in LeRobot's environment: opens folders with LeRobot's own loader and compares every item with what it should be.

    python peer_lerobot.py EXPECTED.npz FOLDER ...

Prints one JSON object a folder. Imports nothing of this project.
"""

import importlib
import importlib.metadata
import json
import sys
from typing import Any

import numpy as np
import torch


def usable_torchvision() -> object:
    """Makes torchvision importable beside a torch that it was not built for.

    Its compiled operators cannot be loaded then, and it stops at declaring shapes for two of them. The loader needs none
    of them, so their names are declared here, for as long as what is returned is kept.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
        return library
    return None


def check(folder: str, expected: dict[str, np.ndarray]) -> dict[str, Any]:
    """Reads every item of a dataset, and a window that reaches past an episode's end."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/check", root=folder)
    lengths = expected["lengths"]
    assert (len(dataset), dataset.num_episodes) == (lengths.sum(), len(lengths)), dataset
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    found: dict[str, Any] = {"folder": folder, "items": len(dataset), "episodes": dataset.num_episodes}
    numbers, worst, total = {}, 0.0, 0.0
    for index in range(len(dataset)):
        item = dataset[index]
        for name, values in expected.items():
            if name in ("lengths", "observation.image"):
                continue
            same = np.array_equal(np.ravel(item[name].numpy()), np.ravel(values[index]).astype(np.float32))
            numbers[name] = numbers.get(name, True) and same
        numbers["frame_index"] = numbers.get("frame_index", True) and int(item["frame_index"]) == index - int(
            starts[index]
        )
        picture = np.rint(item["observation.image"].numpy().transpose(1, 2, 0) * 255)
        apart = np.abs(picture - expected["observation.image"][index])
        worst, total = max(worst, float(apart.max())), total + float(apart.mean())
    found |= {"numbers": numbers, "pictures_mean": total / len(dataset), "pictures_worst": worst, "task": item["task"]}
    window = LeRobotDataset("local/check", root=folder, delta_timestamps={"action": [0.0, 0.1, 0.2]})
    last = int(lengths[0]) - 1
    item = window[last]
    found["padded_past_the_end"] = item["action_is_pad"].tolist() == [False, True, True] and np.array_equal(
        item["action"].numpy(), np.repeat(expected["action"][last : last + 1].astype(np.float32), 3, axis=0)
    )
    mean = np.ravel(np.asarray(dataset.meta.stats["action"]["mean"]))
    found["statistics"] = bool(np.allclose(mean, expected["action"].mean(axis=0), rtol=1e-5))
    return found


if __name__ == "__main__":
    kept = usable_torchvision()
    wanted = dict(np.load(sys.argv[1], allow_pickle=False))
    names = ("lerobot", "torch", "torchvision", "torchcodec", "datasets", "pyarrow")
    print(json.dumps({"versions": {name: importlib.metadata.version(name) for name in names}}))
    for path in sys.argv[2:]:
        print(json.dumps(check(path, wanted)))
