"""The gallery's page shows what its commands draw: every command is one, every picture is there."""

import sys
from pathlib import Path

import pytest

from diffpolicy.commands.arguments import parse
from diffpolicy.commands.visualize import _PICTURES as COMMANDS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> object:
    """The module that draws it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gallery

    yield gallery
    sys.modules.pop("gallery")


def test_the_page_is_up_to_date(gallery: object) -> None:
    written = (gallery.GALLERY / "README.md").read_text(encoding="utf-8")
    assert written == gallery.page(), "write it anew: python benchmarks/gallery.py"


def test_every_picture_is_there_and_small_enough_to_clone(gallery: object) -> None:
    sizes = {name: (gallery.GALLERY / gallery.kept(name)).stat().st_size for name in gallery.PICTURES}
    assert min(sizes.values()) > 5_000
    assert max(sizes.values()) < 5_000_000
    assert sum(sizes.values()) < 16_000_000


def test_every_command_is_one(gallery: object) -> None:
    for picture in gallery.PICTURES.values():
        kind, *words = picture.command.split()
        arguments = parse(COMMANDS[kind][0], words, prog=kind)
        assert type(arguments) is COMMANDS[kind][0]


def test_a_picture_that_there_is_not_is_named(gallery: object) -> None:
    with pytest.raises(SystemExit, match="--only fields: no such picture"):
        gallery.main(gallery.Gallery(only=("fields",)))
