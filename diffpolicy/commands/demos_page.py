"""The page of `diffpolicy demos inspect`: films come from here, since demonstrations know nothing of writing them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from diffpolicy_demos.inspect import Description
from diffpolicy_demos.pages.inspect import inspect_page
from diffpolicy_demos.pictures import film
from diffpolicy_demos.store import Store
from rich.progress import Progress


def write_inspect_page(
    path: Path, store: Store, description: Description, episodes: tuple[int, ...], progress: Progress
) -> None:
    """Writes the page about a store.

    Args:
        path: The file to write; an existing one is replaced.
        store: What to show.
        description: What `describe` says of it.
        episodes: Which to film.
        progress: Where to show how far the work is.

    Raises:
        StoreError: An episode that is not there or cannot be shown.
        OSError: The file cannot be written.
    """
    films = [film(store, episode) for episode in episodes]  # refuses a wrong number before the work begins
    videos = _encoded(films, description.control_hz, progress)
    path.write_text(inspect_page(store, description, zip(episodes, videos, strict=True), progress), encoding="utf-8")


def _encoded(films: list[Iterator], control_hz: float, progress: Progress) -> Iterator[bytes]:
    if not films:
        return
    from diffpolicy.visualization.video import write_video  # its codecs take a while to import

    with tempfile.TemporaryDirectory() as folder:
        for frames in progress.track(films, description="filming"):
            place = Path(folder) / "film.mp4"
            write_video(place, frames, control_hz, hold_last_s=1.0)
            yield place.read_bytes()
