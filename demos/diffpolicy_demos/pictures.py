"""Pictures of recorded episodes: what the cameras saw, or the states drawn where there was no camera."""

from collections.abc import Iterator

import cv2
import numpy as np
from diffpolicy_envs.pusht import draw_scene
from jaxtyping import UInt8

from diffpolicy_demos.doctor.pictures import as_bytes
from diffpolicy_demos.doctor.pusht import goal_of, is_pusht
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.replay import EXECUTED, moving_actions, playable, scale_of
from diffpolicy_demos.store import Store

Picture = UInt8[np.ndarray, "height width 3"]

_FILM_PX = 384
_SHEET_PX = 160


def last_picture(store: Store, index: int) -> Picture | None:
    """What the last step of an episode looks like: as recorded, else drawn; None where neither is possible."""
    step = int(store.episode_ends[index]) - 1
    key = _camera(store)
    if key is not None:
        return as_bytes(np.asarray(store[key][step : step + 1]))[0][0]
    parts = _parts(store, index)
    if parts is None:
        return None
    return draw_scene(
        parts["state"][-1].astype(np.float64), size_px=_SHEET_PX, goal_pose=goal_of(parts), scale=scale_of(parts)
    )


def film(store: Store, index: int) -> Iterator[Picture]:
    """An episode step by step: the scene with the action's target for Push-T, else what the camera recorded.

    Raises:
        StoreError: There is no such episode, or neither states of Push-T nor pictures to show.
    """
    if not 0 <= index < store.n_episodes:
        raise StoreError(f"{store.path}: no episode {index}; it has 0 to {store.n_episodes - 1}")
    parts, key = _parts(store, index), _camera(store)
    if parts is not None:
        return _drawn(parts)
    if key is not None:
        return _recorded(store, key, index)
    raise StoreError(
        f"{store.path}: nothing to film in episode {index}: expected pictures (steps, height, width, 3) or states of Push-T"
    )


def _drawn(parts: dict[str, np.ndarray]) -> Iterator[Picture]:
    goal, scale = goal_of(parts), scale_of(parts)
    for state, action in zip(parts["state"].astype(np.float64), moving_actions(parts), strict=True):
        yield draw_scene(state, size_px=_FILM_PX, goal_pose=goal, scale=scale, action=action)


def _recorded(store: Store, key: str, index: int) -> Iterator[Picture]:
    start = int(store.episode_ends[index - 1]) if index else 0
    for picture in as_bytes(np.asarray(store[key][start : int(store.episode_ends[index])]))[0]:
        # Whole pixels stay whole: what a policy saw should look as coarse as it was.
        times = max(1, _FILM_PX // max(picture.shape[:2]))
        yield cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)


def _camera(store: Store) -> str | None:
    """The array of pictures to show, `pixels` before others."""
    keys = [key for key in store.stored_keys if store[key].ndim == 4 and store[key].shape[-1] == 3]
    return "pixels" if "pixels" in keys else next(iter(keys), None)


def _parts(store: Store, index: int) -> dict[str, np.ndarray] | None:
    """An episode of Push-T that can be drawn, or None."""
    if not is_pusht(store.attrs, {key: store[key] for key in store.stored_keys}):
        return None
    wanted = ("state", "action", EXECUTED, "goal_pose", "scale")
    parts = store.episode(index, keys=[key for key in wanted if key in store.stored_keys])
    return parts if playable(parts) else None
