"""docs/performance.md says what the results in benchmarks/results say, and a result can be put into it."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """benchmarks/performance.py, writing a copy of the page and its pictures elsewhere."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("performance", ROOT / "benchmarks" / "performance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAGE", Path(shutil.copy(PAGE, tmp_path)))
    monkeypatch.setattr(module, "GALLERY", tmp_path)
    monkeypatch.setattr(module, "RESULTS", Path(shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "results")))
    yield module
    sys.modules.pop("performance_charts", None)


def test_the_page_is_what_the_results_make_of_it(writer: ModuleType) -> None:
    writer.main()
    assert writer.PAGE.read_text() == PAGE.read_text(), "run python benchmarks/performance.py"


def test_pictures_are_there(writer: ModuleType) -> None:
    for name, (file, _) in writer.SECTIONS.items():
        if (writer.RESULTS / file).exists():
            assert (ROOT / "docs" / "gallery" / f"performance_{name}.png").exists()
            assert f"(gallery/performance_{name}.png)" in PAGE.read_text()


def test_another_result_makes_another_table(writer: ModuleType) -> None:
    path = writer.RESULTS / writer.SECTIONS["environment"][0]
    result = json.loads(path.read_text())
    result["speed"][0]["ratios"]["gym-pusht / diffpolicy"]["median"] = 98.76
    path.write_text(json.dumps(result | {"quick": True}))
    writer.main()
    text = writer.PAGE.read_text()
    assert "**98.8**" in text
    assert "not to be quoted" in text


def test_a_page_without_the_section_is_told(writer: ModuleType) -> None:
    writer.PAGE.write_text("# Performance\n")
    with pytest.raises(SystemExit, match=r"no section for environment; expected the lines"):
        writer.main()
