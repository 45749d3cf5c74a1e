"""What a conversion lost, measured: the source and what was written, compared number by number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

Episode = Mapping[str, Shaped[np.ndarray, "steps ..."]]


@dataclass
class _Difference:
    """Of one key over the episodes compared so far."""

    before: str
    after: str
    pictures: bool
    numbers: int = 0
    total: float = 0.0
    worst: float = 0.0

    def add(self, before: Shaped[np.ndarray, "steps ..."], after: Shaped[np.ndarray, "steps ..."]) -> None:
        self.numbers += before.size
        if not np.array_equal(before, after):
            apart = np.abs(before.astype(np.float64) - after.astype(np.float64))
            self.total += float(apart.sum())
            self.worst = max(self.worst, float(apart.max()))

    def sentence(self, key: str) -> str | None:
        became = "" if self.before == self.after else f"{self.before} became {self.after}, "
        mean = self.total / self.numbers
        if not self.worst:
            return f"{key}: {became}lossless, every number is the same" if became else None
        if self.pictures:
            error = f"mean absolute error {mean:.2g} grey levels, largest {self.worst:.0f}"
            return f"{key}: {became}lossy: {error} (crf 0 or png keep pictures exactly)"
        return f"{key}: {became}lossy: mean absolute difference {mean:.3g}, largest {self.worst:.3g}"


class Losses:
    """Gathers the differences between a source and what was made of it, episode by episode.

    Args:
        lerobot: Whether a LeRobot dataset was made, whose loader changes a few things of its own.
    """

    def __init__(self, *, lerobot: bool) -> None:
        self._lerobot = lerobot
        self._keys: dict[str, _Difference] = {}
        self._words: list[str] = []

    def add(self, before: Episode, after: Episode) -> None:
        """Compares one episode; `after` may lack keys."""
        for key, values in before.items():
            if key not in after:
                self._say(f"{key}: left out")
                continue
            dtypes = str(values.dtype), str(after[key].dtype)
            pictures = values.ndim == 4 and values.shape[3] == 3
            self._keys.setdefault(key, _Difference(*dtypes, pictures)).add(values, after[key])

    def add_words(
        self,
        attrs_before: Mapping[str, Any],
        attrs_after: Mapping[str, Any],
        infos_before: list[dict[str, Any]],
        infos_after: list[dict[str, Any]],
    ) -> None:
        """Compares what the whole says about itself, and what is known of each episode."""
        for name, value in attrs_before.items():
            if attrs_after.get(name) != value:
                self._say(f"attribute {name!r}: {value!r:.60} became {attrs_after.get(name)!r:.60}")
        changed = [i for i, pair in enumerate(zip(infos_before, infos_after, strict=True)) if pair[0] != pair[1]]
        if changed:
            self._say(f"information of {len(changed)} episodes differs, the first is {changed[0]}")

    def sentences(self) -> tuple[str, ...]:
        """All that differs, a sentence each."""
        found = [sentence for key, apart in self._keys.items() if (sentence := apart.sentence(key))]
        if self._lerobot:
            wide = [key for key, apart in self._keys.items() if apart.after == "float64"]
            found += [f"{key}: float64 in the files; LeRobot's own loader hands it out as float32" for key in wide]
        return (*self._words, *found)

    def _say(self, sentence: str) -> None:
        if sentence not in self._words:
            self._words.append(sentence)
