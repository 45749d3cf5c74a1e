"""The mistakes a user can make, each told in one line.

The command line turns these (and `OSError`) into that line and a non-zero exit code; anything else is a defect of ours
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(word: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for a word that is not known: the closest known one, or else what `otherwise` says."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


class ConfigError(ValueError):
    """A configuration that cannot be used: names the file and key, what was found and what was expected."""


class CheckpointError(ValueError):
    """A checkpoint folder that is missing, altered, or made for something else."""


class ObservationError(ValueError):
    """An observation of another layout, shape or range than the policy was trained on."""
