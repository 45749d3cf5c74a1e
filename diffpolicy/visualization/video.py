"""Frames to files that play everywhere: MP4 (H.264) for talks, GIF for pages, PNG for papers.

A file appears under its name only when it is complete, so an interrupted run leaves no half film behind.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from jaxtyping import UInt8
from PIL import Image

from diffpolicy.visualization.checks import Number, checked_picture, checked_positive
from diffpolicy.visualization.palette import SharedPalette

Frame = UInt8[np.ndarray, "height width 3"]

# Browsers play GIF frames shorter than 20 ms at 100 ms.
_FASTEST_GIF_FPS = 50.0


def write_video(path: str | Path, frames: Iterable[Frame], fps: Number, *, hold_last_s: Number = 0.0) -> None:
    """Writes frames as a film: `.mp4` (H.264, yuv420p, index at the front) or `.gif` (one palette, endless loop).

    Args:
        path: Where to write; the suffix chooses the format. An existing file is replaced.
        frames: RGB pictures of one size, at least one; read once, so a generator will do. For MP4 an odd height or
            width grows by one row or column, repeated from the edge.
        fps: Frames per second, above 0; at most 50 for a GIF, whose clock ticks in hundredths of a second.
        hold_last_s: Time for which the last frame stays beyond its own, so that a loop can be read before it restarts.

    Raises:
        ValueError: If the suffix is unknown, there are no frames, a frame is not a picture or differs in size from the
            first, or `fps` or `hold_last_s` is out of range.
        OSError: If the file cannot be written there.
    """
    path = Path(path)
    writers = {".mp4": _write_mp4, ".gif": _write_gif}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"{path}: expected a name ending in .mp4 or .gif, found {path.suffix or 'no suffix'!r}")
    checked_positive("fps", fps)
    if writer is _write_gif and fps > _FASTEST_GIF_FPS:
        raise ValueError(f"fps: a GIF shows at most {_FASTEST_GIF_FPS:g} frames a second, found {fps:g}; write .mp4")
    if not (np.isfinite(hold_last_s) and hold_last_s >= 0):
        raise ValueError(f"hold_last_s: expected 0 or more seconds, found {hold_last_s}")
    checked = _equal_frames(path, frames)
    _write_whole(path, lambda unfinished: writer(unfinished, checked, fps, hold_last_s))


def write_picture(path: str | Path, picture: Frame) -> None:
    """Writes one RGB picture as `.png`, replacing an existing file.

    Raises:
        ValueError: If the suffix is not `.png` or the array is not a picture.
        OSError: If the file cannot be written there.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: expected a name ending in .png, found {path.suffix or 'no suffix'!r}")
    image = Image.fromarray(checked_picture("picture", picture))
    _write_whole(path, lambda unfinished: image.save(unfinished, format="PNG", optimize=True))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a temporary neighbour of `path`, then renames it; removes it if that fails."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; expected the name of a file")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.touch()
    except OSError as error:
        raise type(error)(f"{path}: cannot write in {path.parent}: {error.strerror}") from None
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _equal_frames(path: Path, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Returns the frames, each checked as it passes; the first at once, so that no frames is an early error."""
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise ValueError(f"{path}: no frames; expected at least one picture")
    shape = checked_picture("frames[0]", first).shape

    def passing() -> Iterator[Frame]:
        for index, frame in enumerate(chain([first], source)):
            checked = checked_picture(f"frames[{index}]", frame)
            if checked.shape != shape:
                raise ValueError(f"frames[{index}]: expected shape {shape} like frames[0], found {checked.shape}")
            yield checked

    return passing()


def _write_mp4(path: Path, frames: Iterator[Frame], fps: Number, hold_last_s: Number) -> None:
    first = next(frames)
    height, width = (side + side % 2 for side in first.shape[:2])
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "17", "preset": "medium", "tune": "animation"}
        # Without these tags players guess the colour matrix from the size of the picture, and colours shift.
        codec = stream.codec_context
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

        def encode(frame: Frame) -> None:
            even = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            picture = picture.reformat(
                format="yuv420p",
                src_colorspace=Colorspace.ITU709,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(picture))

        frame = first
        encode(frame)
        for frame in frames:
            encode(frame)
        # Repeated, not stretched: a constant frame rate is what every player handles.
        for _ in range(round(hold_last_s * fps)):
            encode(frame)
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: Iterator[Frame], fps: Number, hold_last_s: Number) -> None:
    # The palette needs all frames before the first can be written. Flat pictures pack to a few percent of their size.
    palette, packed, shape = SharedPalette(), [], (0, 0, 3)
    for frame in frames:
        palette.see(frame)
        packed.append(zlib.compress(frame.tobytes(), 1))
        shape = frame.shape
    palette.settle()

    def indexed() -> Iterator[Image.Image]:
        for data in packed:
            yield palette.indexed(np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(shape))

    # Whole hundredths of a second, rounded so that the film as a whole keeps its time.
    ends = np.round(np.arange(len(packed) + 1) * 100 / fps).astype(int)
    ends[-1] += round(100 * hold_last_s)
    images = indexed()
    next(images).save(
        path,
        format="GIF",
        save_all=True,
        append_images=images,
        duration=[int(10 * ticks) for ticks in np.diff(ends)],
        loop=0,
        disposal=1,
        optimize=False,
    )
