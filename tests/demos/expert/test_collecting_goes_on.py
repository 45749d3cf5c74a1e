"""`demos collect`: a store that was interrupted goes on as if it had not been, and is never mixed with another kind."""

from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import StoreError, create_store, open_store
from diffpolicy_demos.expert.collect import demonstrate

from diffpolicy.commands.demos import run
from diffpolicy.errors import ConfigError

# Planning is hundreds of thousands of small calls, each of which the checker of annotations would stop at.
pytestmark = pytest.mark.usefixtures("without_shape_checks")


def test_it_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "below" / "expert.zarr"
    run(["collect", str(path), "--episodes", "1", "--seed", "7", "--workers", "1"])
    run(["collect", str(path), "--episodes", "2", "--seed", "7", "--workers", "1"])
    assert "2 episodes" in capsys.readouterr().out
    store = open_store(path)
    assert [info["seed"] for info in store.episode_infos()] == [7, 8]
    for index in range(2):
        for key, values in demonstrate(7 + index).arrays.items():
            np.testing.assert_array_equal(store.episode(index)[key], values)
    run(["collect", str(path), "--episodes", "1", "--seed", "7", "--workers", "1"])
    assert "0 new, of 0 tried" in capsys.readouterr().out


def test_another_kind_of_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "expert.zarr"
    run(["collect", str(path), "--episodes", "1", "--seed", "7", "--workers", "1"])
    with pytest.raises(StoreError, match=r"was collected with .*; give the same options, or another path"):
        run(["collect", str(path), "--episodes", "2", "--seed", "7", "--workers", "1", "--noise-px", "3"])
    create_store(tmp_path / "mine.zarr").close()
    with pytest.raises(StoreError, match="was not collected by the expert; give another path"):
        run(["collect", str(tmp_path / "mine.zarr"), "--episodes", "1"])
    assert open_store(path).n_episodes == 1
    open_store(path, mode="a").close()  # a refusal keeps no lock


@pytest.mark.parametrize("option", [("--episodes", "0"), ("--workers", "0"), ("--seed", "-1"), ("--noise-px", "600")])
def test_numbers_out_of_range_are_refused(tmp_path: Path, option: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="--episodes and --workers must be at least 1"):
        run(["collect", str(tmp_path / "a.zarr"), *option])
    assert not (tmp_path / "a.zarr").exists()
