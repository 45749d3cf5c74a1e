"""An environment for a peer counts only when its installation went through to the end."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from diffpolicy.benchmarking.peer import PeerError
from diffpolicy.benchmarking.peer_environment import make_environment, peers_folder, ready_python


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """A package of one module, to be installed without a network."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "ANSWER = 42\n")
        for name, text in about.items():
            archive.writestr(f"tiny-1.0.dist-info/{name}", text)
    return str(path)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_made_and_found_again(wheel: str, tmp_path: Path) -> None:
    folder = tmp_path / "peers" / "tiny"
    assert ready_python(folder, [wheel]) is None
    python = make_environment(folder, [wheel])
    assert subprocess.check_output([python, "-I", "-c", "import tiny; print(tiny.ANSWER)"]) == b"42\n"
    assert ready_python(folder, [wheel]) == python
    assert ready_python(folder, [wheel, "more"]) is None, "other requirements are another environment"
    marker = folder / "installed.json"
    whole = marker.read_text()
    marker.write_text(whole[: len(whole) // 2])
    assert ready_python(folder, [wheel]) is None
    marker.write_text(whole)
    python.unlink()
    assert ready_python(folder, [wheel]) is None


def test_a_failed_installation_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "peers" / "absent"
    folder.mkdir(parents=True)
    (folder / "left over").write_text("from a run that was killed")
    with pytest.raises(PeerError) as failure:
        make_environment(folder, ["tiny==1.0"])
    said = str(failure.value)
    assert "\n" not in said
    assert [place for place in (str(folder), "tiny==1.0", "--peer", "--no-peer") if place not in said] == []
    assert not folder.exists()


def test_a_python_that_makes_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a system keeps venv in a package of its own."""
    broken = tmp_path / "python"
    broken.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('ensurepip is not available')\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(PeerError, match="ensurepip is not available"):
        make_environment(tmp_path / "peer", [])


def test_a_half_made_one_is_not_taken_for_whole(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert ready_python(tmp_path, []) is None
    (tmp_path / "installed.json").write_text(json.dumps([]))
    assert ready_python(tmp_path, []) == tmp_path / "bin" / "python"


def test_they_are_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert peers_folder() == tmp_path / "diffpolicy" / "peers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert peers_folder() == tmp_path / "home" / ".cache" / "diffpolicy" / "peers"
