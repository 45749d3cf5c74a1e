"""A task is an object named in the config: a shipped one, or one's own from anywhere on the path."""

from pathlib import Path

import pytest
import torch

from diffpolicy.errors import ConfigError
from diffpolicy.tasks import Task, load_task
from diffpolicy.tasks.plain import Plain
from diffpolicy.tasks.pusht import PushT


def test_shipped_tasks() -> None:
    assert isinstance(load_task("pusht"), PushT)
    assert isinstance(load_task("plain"), Plain)
    assert all(isinstance(load_task(name), Task) for name in ("pusht", "plain"))


def test_plain_shows_all_as_it_is_and_has_no_mirror() -> None:
    obs = {"joints": torch.rand(2, 7)}
    assert load_task("plain").features(obs) is obs
    assert load_task("plain").mirror(obs, torch.zeros(2, 7)) is None


def test_a_task_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_robot_task.py").write_text(
        "class Robot:\n"
        "    def features(self, obs): return {k: 2 * v for k, v in obs.items()}\n"
        "    def mirror(self, obs, action): return None\n"
        "ROBOT = Robot()\n"
        "NUMBER = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_task("my_robot_task:ROBOT").features({"a": torch.ones(1)})["a"] == 2
    with pytest.raises(ConfigError, match=r"'my_robot_task:NUMBER' is no task: it needs features.* and mirror"):
        load_task("my_robot_task:NUMBER")
    with pytest.raises(ConfigError, match="cannot load 'my_robot_task:OTHER'"):
        load_task("my_robot_task:OTHER")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pushT", "no task 'pushT'; did you mean 'pusht'"),
        ("kitchen", "no task 'kitchen'; shipped: plain, pusht .*your.module:object"),
        ("no.such.module:TASK", "cannot load 'no.such.module:TASK'"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"policy.task: {message}") as refused:
        load_task(name)
    assert "\n" not in str(refused.value)
