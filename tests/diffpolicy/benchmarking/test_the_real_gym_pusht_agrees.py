"""The published environment itself, in an environment of its own: the same starts, the same trajectories."""

from pathlib import Path

import pytest

from diffpolicy.benchmarking import peer_gym_pusht
from diffpolicy.benchmarking.environment import compare_starts, compare_trajectories, contact_rich_episodes
from diffpolicy.benchmarking.peer import Peer, PeerError
from diffpolicy.benchmarking.peer_environment import make_environment, ready_python
from diffpolicy.commands.bench_peer import GYM_PUSHT_REQUIREMENTS, gym_pusht_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def peer_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache's, where `diffpolicy bench env` has made it; else one for these tests alone."""
    ready = ready_python(gym_pusht_folder(), GYM_PUSHT_REQUIREMENTS)
    if ready is not None:
        return ready
    try:
        return make_environment(tmp_path_factory.mktemp("peers") / "gym-pusht", GYM_PUSHT_REQUIREMENTS)
    except PeerError as error:
        pytest.skip(f"gym-pusht cannot be installed: {error}")


@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_starts(peer_python: Path, protocol: str) -> None:
    with Peer(peer_python, Path(peer_gym_pusht.__file__), hint="") as peer:
        assert peer.ask("versions")["gym-pusht"] == "0.1.8"
        assert compare_starts(peer, protocol, 300).largest <= 1e-6


def test_trajectories(peer_python: Path) -> None:
    with Peer(peer_python, Path(peer_gym_pusht.__file__), hint="") as peer:
        found = compare_trajectories(peer, contact_rich_episodes(40, 100))
    assert found.within_share >= 0.95, found.partings
    assert found.largest_reward <= 1e-9
    assert found.contact_share > 0.25, "trajectories without contact show nothing"
