"""Pictures in LeRobot's videos: many episodes in one file, each found again by the time at which it begins."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from jaxtyping import Float, UInt8

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line

Pictures = UInt8[np.ndarray, "steps height width 3"]

#: As in LeRobot's own sets: to show any frame, two at most have to be decoded.
_GOP = 2
_TOLERANCE = 0.25  # of a frame's time: further off, the table and the video are not of the same recording


class VideoWriter:
    """One video file, written episode by episode.

    H.264 in 4:2:0, as every player and browser knows it; odd sizes, which 4:2:0 cannot have, in 4:4:4. With `crf` 0 the
    pictures are kept exactly, in RGB: LeRobot's decoders read that too, most browsers do not.

    Attributes:
        codec: FFmpeg's name of what is in the file.
        pix_fmt: FFmpeg's name of how colours are kept.
        frames: Written so far.
    """

    codec = "h264"

    def __init__(self, path: Path, fps: int, height: int, width: int, crf: int) -> None:
        self.frames = 0
        self._path = path
        self._fps = fps
        self.pix_fmt = "gbrp" if crf == 0 else "yuv444p" if height % 2 or width % 2 else "yuv420p"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream("libx264rgb" if crf == 0 else "libx264", rate=Fraction(fps))
        stream.height, stream.width = height, width
        stream.pix_fmt = "rgb24" if crf == 0 else self.pix_fmt
        # Without B-frames the first frame is at time zero in every decoder.
        stream.options = {"crf": str(crf), "g": str(_GOP), "bf": "0", "forced-idr": "1"}
        if crf:  # said, so that no player guesses the colour matrix from the size of the picture
            codec = stream.codec_context
            codec.colorspace, codec.color_range = Colorspace.ITU601, ColorRange.MPEG
            codec.color_primaries, codec.color_trc = ColorPrimaries.SMPTE170M, ColorTrc.SMPTE170M
        self._stream = stream
        self._reformatter = VideoReformatter()  # kept, for it sets itself up anew with the first frame

    @property
    def seconds(self) -> float:
        """Time that the frames so far last: where the next episode begins."""
        return self.frames / self._fps

    @property
    def size(self) -> int:
        """Bytes on disk so far; a file begins to be written when the encoder has seen enough."""
        return self._path.stat().st_size if self._path.exists() else 0

    def write(self, pictures: Pictures) -> None:
        """Appends an episode, which begins with a whole picture so that it can be cut out."""
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if self.pix_fmt != "gbrp":
                matrix = Colorspace.ITU601
                frame = self._reformatter.reformat(
                    frame,
                    format=self.pix_fmt,
                    src_colorspace=matrix,
                    dst_colorspace=matrix,
                    dst_color_range=ColorRange.MPEG,
                )
            frame.pict_type = PictureType.I if index == 0 else PictureType.NONE
            self._container.mux(self._stream.encode(frame))
        self.frames += len(pictures)

    def close(self) -> None:
        """Finishes the file; a second call does nothing."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._stream = None


class VideoReader:
    """Reads episodes out of one camera's videos, forwards; a file is opened once for all of its episodes."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._reformatter = VideoReformatter()
        self._close: Callable[[], None] = lambda: None
        self._frames: Iterator[tuple[float, av.VideoFrame]] = iter(())
        self._next: tuple[float, av.VideoFrame] | None = None

    def read(self, path: Path, times_s: Float[np.ndarray, " steps"], fps: float) -> Pictures:
        """Reads the frames at the given times, which rise.

        Raises:
            StoreError: No such file, none that can be decoded, or no frame at one of the times.
        """
        place = f"{path}: the video"
        if not path.is_file():
            raise StoreError(f"{path}: the video is missing; copy it from where the dataset came from")
        try:
            if path != self._path or (self._next is not None and self._next[0] > times_s[0] + _TOLERANCE / fps):
                self._open(path)
            return np.stack([self._at(place, float(time), _TOLERANCE / fps) for time in times_s])
        except (av.error.FFmpegError, IndexError) as error:  # IndexError: a file without a video stream
            raise StoreError(f"{place} cannot be decoded: {one_line(error)}; copy it again") from error

    def close(self) -> None:
        """Closes the file that is open, if any."""
        self._close()
        self._path, self._close, self._frames, self._next = None, lambda: None, iter(()), None

    def _open(self, path: Path) -> None:
        self.close()
        container = av.open(str(path))
        self._path, self._close = path, container.close
        stream = container.streams.video[0]
        self._frames = ((float(frame.pts * frame.time_base), frame) for frame in container.decode(stream))
        self._next = next(self._frames, None)

    def _at(self, place: str, time_s: float, tolerance_s: float) -> UInt8[np.ndarray, "height width 3"]:
        while self._next is not None and self._next[0] < time_s - tolerance_s:
            self._next = next(self._frames, None)
        if self._next is None or self._next[0] > time_s + tolerance_s:
            found = "it ends before" if self._next is None else f"the next is at {self._next[0]:.3f} s"
            raise StoreError(
                f"{place} has no frame at {time_s:.3f} s, {found}; expected one for every row of the table"
            )
        return np.asarray(self._reformatter.reformat(self._next[1], format="rgb24").to_ndarray())
