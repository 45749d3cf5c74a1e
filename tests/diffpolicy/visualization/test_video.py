"""What is written can be read back: frames, sizes, colours, times; and nothing half-written is ever left."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from diffpolicy.visualization import write_picture, write_video


def moving_square(frames: int = 12, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """A coloured square on a light ground with a still stripe."""
    film = []
    for k in range(frames):
        frame = np.full((height, width, 3), (250, 249, 245), np.uint8)
        frame[-12:] = np.linspace(40, 220, width).astype(np.uint8)[None, :, None]
        frame[20:50, 5 * k : 5 * k + 30] = (65, 105, 225)
        film.append(frame)
    return film


def read_mp4(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_gif(path: Path) -> tuple[list[np.ndarray], list[int]]:
    frames, durations_ms = [], []
    with Image.open(path) as image:
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
            durations_ms.append(image.info["duration"])
    return frames, durations_ms


def test_mp4_round_trip(tmp_path: Path) -> None:
    film = moving_square()
    write_video(tmp_path / "film.mp4", iter(film), 10)
    back = read_mp4(tmp_path / "film.mp4")
    assert len(back) == len(film)
    for sent, received in zip(film, back, strict=True):
        assert received.shape == sent.shape
        # Inside flat areas, away from edges that chroma subsampling blurs.
        square = sent[:, :, 2] == 225
        inside = (
            square & np.roll(square, 4, 1) & np.roll(square, -4, 1) & np.roll(square, 4, 0) & np.roll(square, -4, 0)
        )
        assert inside.any()
        assert np.abs(received[inside].astype(int) - (65, 105, 225)).max() <= 8
        assert np.abs(received[:10].astype(int) - sent[:10]).max() <= 6


def test_mp4_keeps_colours(tmp_path: Path) -> None:
    """Saturated colours: the wrong matrix (BT.601 for BT.709) would move green by more than 30."""
    colours = [(0, 200, 0), (65, 105, 225), (220, 30, 30), (255, 160, 30)]
    frame = np.concatenate([np.full((64, 64, 3), colour, np.uint8) for colour in colours], axis=1)
    write_video(tmp_path / "film.mp4", [frame] * 3, 10)
    back = read_mp4(tmp_path / "film.mp4")[-1]
    for k, colour in enumerate(colours):
        assert np.abs(back[32, 32 + 64 * k].astype(int) - colour).max() <= 5


def test_mp4_says_how_to_be_played(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    write_video(target, moving_square(), 30)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 30
        assert stream.codec_context.colorspace == 1  # BT.709: the matrix that was used
    data = target.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "the index must come before the pictures"


@pytest.mark.parametrize(("height", "width"), [(95, 127), (95, 128), (96, 127)])
def test_mp4_pads_odd_sizes(tmp_path: Path, height: int, width: int) -> None:
    film = moving_square(3, height, width)
    write_video(tmp_path / "film.mp4", film, 10)
    back = read_mp4(tmp_path / "film.mp4")[0]
    assert back.shape == (height + height % 2, width + width % 2, 3)
    # Grown from the edge, not by black.
    assert np.abs(back[:10, -1].astype(int) - film[0][0, 0]).max() <= 6


def test_mp4_holds_the_last_frame(tmp_path: Path) -> None:
    film = moving_square(5)
    write_video(tmp_path / "film.mp4", film, 10, hold_last_s=1.5)
    back = read_mp4(tmp_path / "film.mp4")
    assert len(back) == 5 + 15
    assert np.abs(back[-1].astype(int) - back[5].astype(int)).max() <= 8


def test_gif_round_trip(tmp_path: Path) -> None:
    film = moving_square()
    write_video(tmp_path / "film.gif", iter(film), 10)
    back, durations_ms = read_gif(tmp_path / "film.gif")
    assert len(back) == len(film)
    assert durations_ms == [100] * len(film)
    for sent, received in zip(film, back, strict=True):
        assert received.shape == sent.shape
        assert np.abs(received.astype(int) - sent).max() <= 4
    with Image.open(tmp_path / "film.gif") as image:
        assert image.info["loop"] == 0


def test_gif_keeps_still_pixels_still(tmp_path: Path) -> None:
    """More colours than places: a palette per frame, or dithering, would make the still half flicker."""
    r = np.random.default_rng(0)
    still = r.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    film = [np.concatenate([still, r.integers(0, 256, (40, 60, 3), dtype=np.uint8)]) for _ in range(6)]
    write_video(tmp_path / "film.gif", film, 10)
    back, _ = read_gif(tmp_path / "film.gif")
    assert all(np.array_equal(frame[:40], back[0][:40]) for frame in back)
    assert not np.array_equal(back[0][40:], back[1][40:])
    assert np.abs(back[0].astype(float) - film[0]).mean() < 20


def test_gif_keeps_flat_colours_exactly(tmp_path: Path) -> None:
    r = np.random.default_rng(1)
    film = moving_square()
    for frame in film:
        frame[60:75] = r.integers(0, 256, (15, 128, 3))
    write_video(tmp_path / "film.gif", film, 10)
    back, _ = read_gif(tmp_path / "film.gif")
    assert np.array_equal(back[3][:58], film[3][:58])


def test_gif_ground_stays_white_beside_off_white(tmp_path: Path) -> None:
    frame = np.full((60, 80, 3), 255, np.uint8)
    frame[:10] = (253, 253, 253)
    write_video(tmp_path / "film.gif", [frame], 10)
    back, _ = read_gif(tmp_path / "film.gif")
    assert np.all(back[0][10:] == 255)


def test_gif_times_add_up_and_the_last_frame_holds(tmp_path: Path) -> None:
    write_video(tmp_path / "film.gif", moving_square(15), 30, hold_last_s=1.5)
    _, durations_ms = read_gif(tmp_path / "film.gif")
    assert sum(durations_ms) == pytest.approx(15 / 30 * 1000 + 1500, abs=10)
    assert durations_ms[-1] >= 1500
    assert set(durations_ms[:-1]) <= {30, 40}


def test_gif_of_one_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "film.gif", moving_square(1), 10)
    back, _ = read_gif(tmp_path / "film.gif")
    assert len(back) == 1
    assert np.abs(back[0].astype(int) - moving_square(1)[0]).max() <= 4


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_same_frames_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}{suffix}", moving_square(), 10)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_picture_round_trip(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)


def refused(tmp_path: Path, kind: type[Exception], words: str, name: str, frames: object, **options: float) -> None:
    """Writing is refused in one line that holds `words`, and the folder stays as it was."""
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(kind, match=words) as caught:
        write_video(tmp_path / name, frames, **{"fps": 10, **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_bad_frames_are_refused_and_leave_nothing(tmp_path: Path, suffix: str) -> None:
    good = moving_square(2)
    (tmp_path / f"film{suffix}").write_bytes(b"an older film")
    refused(tmp_path, ValueError, "no frames", f"film{suffix}", [])
    odd = [*good, np.zeros((8, 8, 3), np.uint8)]
    refused(tmp_path, ValueError, r"frames\[2\].*\(96, 128, 3\).*\(8, 8, 3\)", f"film{suffix}", odd)
    refused(tmp_path, ValueError, r"frames\[0\].*uint8.*float64", f"film{suffix}", [good[0] / 255])
    refused(tmp_path, ValueError, r"frames\[0\].*\(96, 128\)", f"film{suffix}", [good[0][..., 0]])

    def broken() -> object:
        yield good[0]
        raise RuntimeError("the renderer died")

    refused(tmp_path, RuntimeError, "the renderer died", f"film{suffix}", broken())


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_names_and_numbers_are_refused(tmp_path: Path) -> None:
    film = moving_square(2)
    refused(tmp_path, ValueError, r"\.mp4 or \.gif.*'\.avi'", "film.avi", film)
    refused(tmp_path, ValueError, "no suffix", "film", film)
    refused(tmp_path, OSError, "does not exist", "missing/film.mp4", film)
    (tmp_path / "folder.gif").mkdir()
    refused(tmp_path, OSError, "is a folder", "folder.gif", film)
    for fps in (0, -1, float("nan")):
        refused(tmp_path, ValueError, "fps", "film.mp4", film, fps=fps)
    refused(tmp_path, ValueError, "at most 50", "film.gif", film, fps=60)
    refused(tmp_path, ValueError, "hold_last_s", "film.gif", film, hold_last_s=-1.0)
