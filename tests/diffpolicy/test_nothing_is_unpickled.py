"""Nothing that the package writes is a pickle and nothing that it reads is unpickled: a checkpoint can be harmless data."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import diffpolicy_demos
import diffpolicy_envs
import pytest

import diffpolicy


def test_nothing_is_a_pickle(tmp_path: Path, make_store: Any, tiny: Any, run_training: Any) -> None:
    run_training(tiny(), make_store(), tmp_path / "run")
    files = [path for path in (tmp_path / "run" / "last").iterdir() if path.is_file()]
    assert len(files) == 5
    for path in files:
        content = path.read_bytes()
        assert not zipfile.is_zipfile(path)
        assert not content.startswith(b"\x80")
        if path.suffix == ".json":
            json.loads(content)


_FORBIDDEN = re.compile(
    r"torch\.load\b|^\s*(import|from) (pickle|joblib|dill|shelve|marshal)\b|pickle\.load|allow_pickle=True|"
    r"load_state\(|yaml\.(unsafe_|full_)?load\(|(?<!\.)\beval\(|\bexec\("
)


@pytest.mark.parametrize("package", [diffpolicy, diffpolicy_demos, diffpolicy_envs])
def test_the_package_never_unpickles(package: Any) -> None:
    sources = list(Path(package.__file__).parent.rglob("*.py"))
    assert len(sources) >= 5
    lines = [(path.name, line) for path in sources for line in path.read_text().splitlines()]
    assert [(name, line) for name, line in lines if _FORBIDDEN.search(line)] == []


@pytest.mark.parametrize(
    "line", ["import pickle", "x = torch.load(path)", "yaml.load(text)", "np.load(f, allow_pickle=True)", "eval(text)"]
)
def test_the_scan_sees_what_it_looks_for(line: str) -> None:
    assert _FORBIDDEN.search(line)
