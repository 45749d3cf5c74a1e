"""Takes demonstrations from one format to another and says what was lost, by reading back what was written.

Between zarr 2, zarr 3 and LeRobot datasets, in any direction, one episode in memory at a time.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from diffpolicy_demos.checks import check_finite
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lerobot.format import INFO
from diffpolicy_demos.lerobot.read import LerobotRecording
from diffpolicy_demos.lerobot.write import LerobotWriter
from diffpolicy_demos.location import bundled_stores
from diffpolicy_demos.losses import Losses
from diffpolicy_demos.opening import create_store, open_store
from diffpolicy_demos.schema import CONTROL_HZ_ATTR, ENV_ATTR
from diffpolicy_demos.store_recording import Episode, StoreRecording

KINDS = ("zarr3", "zarr2", "lerobot")

PUSHT_TASK = "Push the T-shaped block onto the T-shaped target."
DEFAULT_FPS = 10
DEFAULT_CRF = 18
_CRFS = range(52)


@dataclass(frozen=True)
class LerobotOptions:
    """What a LeRobot dataset must know that a store may not say.

    Attributes:
        fps: Steps a second; by default the store's `control_hz`, else 10.
        task: What is done in episodes that do not say it themselves; Push-T's own task for Push-T.
        video: Pictures as mp4; otherwise as png inside the parquet files, which keeps them exactly.
        crf: Quality of the videos: 0 keeps the pictures exactly, 18 is hard to tell from them, 51 is the worst.
    """

    fps: int | None = None
    task: str | None = None
    video: bool = True
    crf: int = DEFAULT_CRF


@dataclass(frozen=True)
class Conversion:
    """What came of it.

    Attributes:
        path: The new store or dataset.
        kind: Its format, one of `KINDS`.
        episodes: How many it has.
        steps: Of all of them together.
        losses: What differs from the source or had to be assumed, a sentence each; empty if it is the same throughout.
    """

    path: Path
    kind: str
    episodes: int
    steps: int
    losses: tuple[str, ...]


Recording = LerobotRecording | StoreRecording


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str | None = None,
    options: LerobotOptions | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Converts demonstrations, and compares every number of the result with the source.

    The target appears under its name once it is complete and compared; after an error nothing is left of it.

    Args:
        source: What `open_store` opens, or the folder of a LeRobot dataset (version 3.0, 2.1 or 2.0).
        target: A folder that does not exist yet.
        to: The format, one of `KINDS`; by default zarr 3 for a LeRobot source and for targets named `.zarr`, else LeRobot.
        options: For LeRobot targets only.
        progress: Gets one bar for converting and one for comparing, in episodes.

    Raises:
        StoreError: The source cannot be read, the target exists or cannot hold the source, or options that do not fit.
        OSError: No space, no permission.
    """
    recording = _open(source)
    path = Path(target).expanduser()
    kind = to or ("zarr3" if isinstance(recording, LerobotRecording) or path.suffix == ".zarr" else "lerobot")
    _check(recording, os.fspath(target), path, kind, options)
    progress = progress or Progress(disable=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        assumed = _write(recording, temporary, kind, options or LerobotOptions(), progress)
        written = LerobotRecording(temporary) if kind == "lerobot" else StoreRecording(open_store(temporary))
        losses, steps = _compare(recording, written, kind, progress)
        temporary.rename(path)
    except StoreError as error:
        raise StoreError(str(error).replace(str(temporary), str(path))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Conversion(path, kind, recording.n_episodes, steps, (*recording.left_out, *assumed, *losses))


def _open(source: str | os.PathLike[str]) -> Recording:
    text = os.fspath(source)
    folder = Path(text).expanduser()
    named = isinstance(source, str) and (text == "pusht" or text in bundled_stores())
    if not named and "://" not in text and folder.is_dir():
        parquet = any(folder.glob("data/*/*.parquet")) or (folder / "meta" / "episodes").is_dir()
        if parquet or (folder / INFO).is_file():
            return LerobotRecording(folder)
    return StoreRecording(open_store(source))


def _check(recording: Recording, text: str, path: Path, kind: str, options: LerobotOptions | None) -> None:
    if kind not in KINDS:
        raise StoreError(f"{text}: format {kind!r} asked for; expected {', '.join(KINDS)}")
    if "://" in text:
        raise StoreError(f"{text}: only folders can be written; convert into one and upload that")
    if path.exists() or path.is_symlink():
        raise StoreError(f"{path}: exists already; choose another name, or remove it first")
    if "://" not in recording.path and path.resolve().is_relative_to(Path(recording.path).resolve()):
        raise StoreError(f"{path}: lies inside the source {recording.path}; choose a place beside it")
    if options is not None and kind != "lerobot":
        raise StoreError(f"{path}: fps, task and video are for LeRobot datasets; leave them out for {kind}")
    if options is not None and options.crf not in _CRFS:
        raise StoreError(f"{path}: crf {options.crf} asked for; expected 0 (exact) to 51 (worst)")


def _write(
    recording: Recording, folder: Path, kind: str, options: LerobotOptions, progress: Progress
) -> tuple[str, ...]:
    """Writes all episodes; returns what had to be assumed."""
    episodes = progress.track(
        zip(_finite(recording), recording.infos, strict=True), total=recording.n_episodes, description="converting"
    )
    if kind != "lerobot":
        with create_store(folder, attrs=recording.attrs, zarr_format=2 if kind == "zarr2" else 3) as store:
            for episode, info in episodes:
                store.append_episode(episode, info or None)
        return ()
    fps, assumed = _fps(recording, options.fps)
    tells_success = all(isinstance(info.get("success"), bool) for info in recording.infos)
    with LerobotWriter(
        folder,
        recording.attrs,
        fps=fps,
        task=_task(recording, options.task),
        crf=options.crf if options.video else None,
        tells_success=tells_success,
    ) as writer:
        for episode, info in episodes:
            writer.append(episode, info)
        writer.close()
    return assumed


def _finite(recording: Recording) -> Iterator[Episode]:
    for index, episode in enumerate(recording.episodes()):
        for key, values in episode.items():
            check_finite(f"{recording.path}: episode {index}, {key!r}", values)
        yield episode


def _compare(recording: Recording, written: Recording, kind: str, progress: Progress) -> tuple[tuple[str, ...], int]:
    losses, steps = Losses(lerobot=kind == "lerobot"), 0
    pairs = zip(recording.episodes(), written.episodes(), strict=True)
    for before, after in progress.track(pairs, total=recording.n_episodes, description="comparing"):
        losses.add(before, after)
        steps += len(before["action"])
    losses.add_words(recording.attrs, written.attrs, recording.infos, written.infos)
    return losses.sentences(), steps


def _fps(recording: Recording, asked: int | None) -> tuple[int, tuple[str, ...]]:
    told = recording.fps if isinstance(recording, LerobotRecording) else recording.attrs.get(CONTROL_HZ_ATTR)
    if asked is not None:
        if asked < 1:
            raise StoreError(f"fps: {asked} asked for; expected 1 or more")
        if told is not None and told != asked:
            return asked, (f"frames a second: {asked}, as asked; {recording.path} says {told}",)
        return asked, ()
    if told is None:
        return DEFAULT_FPS, (f"frames a second: {DEFAULT_FPS} assumed, {recording.path} has no {CONTROL_HZ_ATTR!r}",)
    if not isinstance(told, int | float) or isinstance(told, bool) or told < 1 or abs(told - round(told)) > 1e-9:
        raise StoreError(
            f"{recording.path}: {CONTROL_HZ_ATTR!r} is {told!r}; LeRobot counts in whole frames a second: say how many "
            "with --fps"
        )
    return round(told), ()


def _task(recording: Recording, asked: str | None) -> str:
    if asked is not None:
        return asked
    if all(isinstance(info.get("task"), str) for info in recording.infos):
        return ""  # never used
    env = recording.attrs.get(ENV_ATTR)
    if (isinstance(env, str) and "PushT" in env) or (env is None and _has_pusht_shapes(recording)):
        return PUSHT_TASK
    raise StoreError(
        f"{recording.path}: LeRobot wants every episode's task in words, and these have none; say it with --task"
    )


def _has_pusht_shapes(recording: Recording) -> bool:
    first = next(recording.episodes())
    return {"state", "action"} <= set(first) and (first["state"].shape[1:], first["action"].shape[1:]) == ((5,), (2,))
