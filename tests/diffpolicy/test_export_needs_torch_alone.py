"""What `diffpolicy export` writes runs where there is only torch, holds no pickle, and drives as a Controller does."""

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from diffpolicy import Controller, load_policy
from diffpolicy.export import Exported, export_policy

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
ISOLATED = """
import importlib.machinery, json, sys
absent = set(json.loads(sys.argv[1]))
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)
sys.meta_path[-1] = Without
sys.path.append(sys.argv[2])
for name in ("diffpolicy", "diffusers", "accelerate", "zarr", "gymnasium", "pymunk", "jaxtyping", "safetensors"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is there")
import numpy as np
import torch
torch.set_num_threads(1)
known = {"__name__": "drive"}
exec(compile(sys.stdin.read(), "drive.py", "exec"), known)
np.save("driven.npy", [known["act"]({"state": state}) for state in np.load("states.npy")])
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The released policy, in two steps, as `policy.pt2` in a folder of its own."""
    return export_policy("pusht-state", tmp_path_factory.mktemp("robot") / "policy.pt2", steps=2)


@pytest.fixture
def exported(written: Exported) -> Path:
    return written.path


def modules_for(*projects: str) -> set[str]:
    """What may be imported where only these projects were installed: their modules, and those of what they require."""
    offered: dict[str, set[str]] = {}
    for module, homes in importlib.metadata.packages_distributions().items():
        for home in homes:
            offered.setdefault(home.lower().replace("_", "-"), set()).add(module)
    wanted, modules = list(projects), set()
    done: set[str] = set()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name not in done:
            done.add(name)
            modules |= offered.get(name, set())
            needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
            wanted += [n.name for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return modules


def test_it_drives_as_a_controller_with_torch_and_numpy_alone(exported: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (drive,) = [block for block in blocks if block.startswith("# drive.py")]
    ours = {"diffpolicy", "diffpolicy_envs", "diffpolicy_demos"}
    absent = set(importlib.metadata.packages_distributions()) - modules_for("torch", "numpy") | ours
    assert {"diffusers", "accelerate", "zarr", "gymnasium", "pymunk", "pydantic"} <= absent
    # A drive about the table. What is seen does not depend on the actions, so that rounding cannot add up.
    rng = np.random.default_rng(0)
    states = 256 + np.cumsum(rng.normal(0, 4, (20, 5)), axis=0)
    np.save(exported.parent / "states.npy", states)
    site = str(Path(torch.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ISOLATED, json.dumps(sorted(absent)), site],
        cwd=exported.parent,
        input=drive,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    controller = Controller(load_policy("pusht-state"), steps=2, seed=0)
    expected = np.stack([controller({"state": state}) for state in states])
    np.testing.assert_allclose(np.load(exported.parent / "driven.npy"), expected, rtol=0, atol=5e-3)


def test_nothing_in_the_file_is_a_pickle_or_tells_of_this_machine(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert len(contents) > 20
    for name, content in contents.items():
        assert not zipfile.is_zipfile(io.BytesIO(content)), name  # torch's own pickles are zips
        assert not content.startswith(b"\x80") or "weights/weight_" in name or "constants/tensor_" in name, name
        if name.endswith(".json"):
            json.loads(content)
            assert b".py" not in content
            assert str(PAGE.parents[1]).encode() not in content
    payloads = [json.loads(content)["config"] for name, content in contents.items() if name.endswith("_config.json")]
    assert len(payloads) == 2
    assert not any(tensor["use_pickle"] for config in payloads for tensor in config.values())


def test_the_released_policy_agrees_within_a_thousandth_of_a_pixel(written: Exported) -> None:
    assert written.difference < 1e-3


def test_weights_are_stored_once(exported: Path) -> None:
    policy = load_policy("pusht-state")
    weights = sum(value.nbytes for value in policy.state_dict().values())
    assert weights < exported.stat().st_size < 1.05 * weights


def test_it_says_where_it_comes_from(exported: Path) -> None:
    files = {"policy.json": ""}
    torch.export.load(exported, extra_files=files)
    card = json.loads(files["policy.json"])
    assert card["checkpoint"]["name"] == "pusht-state"
    config = json.loads(
        (Path(sys.modules["diffpolicy"].__file__ or "").parent / "pretrained/pusht-state/config.json").read_text()
    )
    assert card["checkpoint"]["identity"] == config["identity"]
    assert card["versions"]["torch"] == torch.__version__
