"""A store as the doctor takes it: opened without demanding that it be right, so that what is wrong can be told.

`open_store` refuses a broken store at the first fault, which is right for training and useless for a diagnosis.
"""

import bisect
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from jaxtyping import Bool, Int, Shaped
from zarr.core.sync import collect_aiterator
from zarr.storage import FsspecStore

from diffpolicy_demos import checks
from diffpolicy_demos.arrays import open_array, open_arrays
from diffpolicy_demos.damage import CheckedArray, checked_array
from diffpolicy_demos.doctor.findings import Finding
from diffpolicy_demos.episode_info import InfoReader
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import locate, one_line, open_root
from diffpolicy_demos.schema import DATA, ENDS, WRITER_ATTR, missing_is_damage, policy_keys

_KEPT_BYTES = 64 << 20


@dataclass
class Patient:
    """What can be read of a store.

    Attributes:
        path: Where it is.
        attrs: Its root attributes.
        arrays: The arrays that open, by the policy's key; a chunk that is lost or damaged raises `StoreError`.
        infos: What is known of each episode beside its steps.
        spans: First step and one past the last of every episode whose ends make sense, by the episode's index.
        findings: What is wrong with the structure.
        unusable: What is said of arrays that do not open.
    """

    path: str
    attrs: dict[str, Any]
    arrays: dict[str, CheckedArray]
    infos: dict[int, dict[str, Any]]
    spans: dict[int, tuple[int, int]]
    findings: list[Finding] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    _whole: dict[str, np.ndarray | None] = field(default_factory=dict)

    @property
    def lengths(self) -> dict[int, int]:
        """Steps by episode."""
        return {index: stop - start for index, (start, stop) in self.spans.items()}

    @property
    def n_steps(self) -> int:
        """One past the last step of any episode."""
        return max((stop for _, stop in self.spans.values()), default=0)

    def numbers(self) -> list[str]:
        """Keys of the arrays that are rows of numbers rather than pictures, sorted."""
        return sorted(key for key, array in self.arrays.items() if array.ndim <= 3)

    def pictures(self) -> list[str]:
        """Keys of the arrays that are RGB pictures, sorted."""
        return sorted(key for key, array in self.arrays.items() if array.ndim == 4 and array.shape[-1] == 3)

    def read(self, key: str, index: int) -> Shaped[np.ndarray, "steps ..."]:
        """One episode's values as stored.

        Raises:
            StoreError: They cannot be read.
        """
        start, stop = self.spans[index]
        whole = self._kept(key)
        if whole is not None:
            return whole[start:stop]
        try:
            return np.asarray(self.arrays[key][start:stop])
        except Exception as error:  # a truncated chunk makes each codec raise in its own way
            raise StoreError(f"{self.path}: {key!r} of episode {index} cannot be read: {one_line(error)}") from error

    def why_unreadable(self, key: str, start: int, stop: int) -> str:
        """Which file keeps steps of the store from being read, and why."""
        damage = next(self.arrays[key].damages(start, stop), None)
        return f"{damage.file} {damage.what}" if damage else "the place did not answer; try again"

    def _kept(self, key: str) -> Shaped[np.ndarray, "steps ..."] | None:
        """A small array as a whole, kept since every check reads it; None where it is large or damaged."""
        if key not in self._whole:
            array = self.arrays[key]
            try:
                small = array.dtype.itemsize * array.size <= _KEPT_BYTES
                self._whole[key] = np.asarray(array[: self.n_steps]) if small else None
            except Exception:  # a truncated chunk makes each codec raise in its own way
                self._whole[key] = None
            if (kept := self._whole[key]) is not None:
                kept.setflags(write=False)
        return self._whole[key]

    def parts(self, index: int) -> dict[str, Shaped[np.ndarray, "steps ..."]]:
        """One episode's numbers, by key; pictures are left out.

        Raises:
            StoreError: Some cannot be read.
        """
        return {key: self.read(key, index) for key in self.numbers()}

    def chunks(self, key: str) -> Iterator[tuple[int, int, Shaped[np.ndarray, "steps ..."] | None]]:
        """First step, one past the last, and values of every chunk of steps; None where a chunk cannot be read."""
        array = self.arrays[key]
        for start in range(0, self.n_steps, array.chunks[0]):
            stop = min(start + array.chunks[0], self.n_steps)
            try:
                yield start, stop, np.asarray(array[start:stop])
            except Exception:  # a truncated chunk makes each codec raise in its own way
                yield start, stop, None

    def by_episode(self, steps: Int[np.ndarray, " found"]) -> dict[int, Int[np.ndarray, " found_there"]]:
        """Sorts steps of the whole store by episode and counts them from its beginning; steps of none are left out."""
        found: dict[int, Int[np.ndarray, " found_there"]] = {}
        for index, (start, stop) in self.spans.items():
            inside = steps[(steps >= start) & (steps < stop)]
            if len(inside):
                found[index] = inside - start
        return found


def open_patient(path_or_name: str | os.PathLike[str]) -> Patient:
    """Opens a store for the doctor.

    Args:
        path_or_name: As for `open_store`.

    Raises:
        StoreError: There is no zarr group at all.
    """
    place = locate(path_or_name)
    path, root = str(place), open_root(place, "r")
    patient = Patient(path, dict(root.attrs), {}, {}, {})
    opened = {name: array for name in _array_names(root) if (array := _opened(patient, root, name)) is not None}
    try:
        open_arrays(path, root)  # also notices an array whose metadata are lost, which is no array to look at
    except StoreError as error:
        _unusable(patient, str(error))
    try:
        array = open_array(path, root, ENDS)
        if array is None or array.ndim != 1 or array.dtype.kind not in "iu":
            raise StoreError(f"{ENDS} is missing or not one row of integers; no episode can be told from the next")
        ends = np.asarray(checked_array(path, array, np.arange(1, array.shape[0] + 1), every_chunk=True)[:])
    except StoreError as error:
        _broken(patient, str(error))
        ends = None
    if "action" not in opened:
        _broken(
            patient, f"no readable array 'data/action' to learn from; found {', '.join(sorted(opened)) or 'nothing'}"
        )
    if ends is None or "action" not in opened:
        return patient
    ends = ends.astype(np.int64)
    for key, name in policy_keys(opened).items():
        every_chunk = missing_is_damage(name, patient.attrs)
        patient.arrays[key] = checked_array(path, opened[name], ends, every_chunk=every_chunk)
    _find_spans(patient, ends)
    _read_infos(patient, root, len(ends))
    return patient


def _array_names(root: zarr.Group) -> list[str]:
    store, prefix = root.store_path.store, f"{root.store_path.path}/{DATA}".lstrip("/")
    try:
        listed = {name.rstrip("/") for name in collect_aiterator(store.list_dir(prefix))}
    except Exception:  # each kind of server refuses in its own way, and some have nothing to list with
        if not isinstance(store, FsspecStore):
            raise
        return [array.name.rpartition("/")[2] for array in open_arrays("", root).values()]
    return sorted(name for name in listed if not name.startswith(".") and name != "zarr.json")


def _opened(patient: Patient, root: zarr.Group, name: str) -> zarr.Array | None:
    """Opens one array, or says why it cannot be used."""
    try:
        array = open_array(patient.path, root, f"{DATA}/{name}")
        if array is not None:
            checks.check_step_shapes(patient.path, {name: tuple(array.shape[1:])})
        return array
    except StoreError as error:
        _unusable(patient, str(error))
        return None


def _unusable(patient: Patient, found: str) -> None:
    said = found.removeprefix(f"{patient.path}: ")
    if said not in patient.unusable:
        patient.unusable.append(said)
        _broken(patient, found)


def _read_infos(patient: Patient, root: zarr.Group, n_episodes: int) -> None:
    reader = InfoReader(patient.path, root, n_episodes)
    for index in patient.spans:
        try:
            patient.infos[index] = reader.one(index)
        except StoreError as error:
            found = str(error).removeprefix(f"{patient.path}: ")
            patient.findings.append(Finding("info", "warning", found, (index,)))


def _find_spans(patient: Patient, ends: Int[np.ndarray, " episodes"]) -> None:
    """Sorts the entries of `episode_ends` into episodes and findings."""
    lengths = {key: int(array.shape[0]) for key, array in patient.arrays.items()}
    shortest = min(lengths, key=lengths.__getitem__)
    steps = lengths[shortest]
    if len(ends) == 0:
        _broken(patient, f"{ENDS} is empty: the store holds no episodes")
        return
    empty = np.diff(ends, prepend=0) == 0
    trusted = ~empty & (ends > 0) & (ends <= steps)
    trusted[trusted] = _trusted(ends[trusted])
    before = 0
    for index, end in enumerate(ends.tolist()):
        previous = int(ends[index - 1]) if index else 0
        if empty[index]:
            _broken(patient, f"empty: begins and ends at {end}", (index,))
        elif end > steps:
            _broken(patient, f"ends at {end}, but {shortest!r} has {steps} steps: data are missing", (index,))
        elif not trusted[index]:
            _broken(patient, f"begins at {previous} and ends at {end}: out of order with its neighbours", (index,))
        elif previous != before:
            _broken(patient, f"ends at {end}; where it begins is unknown", (index,))
        else:
            patient.spans[index] = (before, end)
        before = end if trusted[index] else before
    if WRITER_ATTR not in patient.attrs:  # a store of ours may carry the rest of an interrupted append
        last = int(ends.max())
        if len(set(lengths.values())) > 1:
            ragged = ", ".join(f"{key!r} {length}" for key, length in sorted(lengths.items()))
            _broken(patient, f"arrays of different lengths: {ragged} steps")
        if steps > last:
            _broken(patient, f"{steps - last} steps after the last end ({last}) belong to no episode")


def _broken(patient: Patient, found: str, episodes: tuple[int, ...] = ()) -> None:
    patient.findings.append(Finding("layout", "error", found.removeprefix(f"{patient.path}: "), episodes))


def _trusted(ends: Int[np.ndarray, " entries"]) -> Bool[np.ndarray, " entries"]:
    """Marks the positive entries that are right in all likelihood: one wrong number must not cost the others.

    They are a longest rising run. Of two entries that only contradict each other, nobody can tell which is wrong.
    """
    tails: list[int] = []
    rank = np.zeros(len(ends), dtype=np.int64)
    for place, end in enumerate(ends.tolist()):
        rank[place] = bisect.bisect_left(tails, end) + 1
        tails[rank[place] - 1 : rank[place]] = [end]
    kept, wanted, below = np.zeros(len(ends), dtype=bool), len(tails), np.iinfo(np.int64).max
    for place in range(len(ends) - 1, -1, -1):
        if wanted and rank[place] == wanted and ends[place] < below:
            kept[place], wanted, below = True, wanted - 1, int(ends[place])
    trusted, places = kept.copy(), np.arange(len(ends))
    for place in np.flatnonzero(~kept).tolist():
        contradicts = kept & np.where(places < place, ends >= ends[place], ends <= ends[place])
        if contradicts.sum() == 1:
            trusted &= ~contradicts
    return trusted
