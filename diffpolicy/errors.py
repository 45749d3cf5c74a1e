"""The mistakes a user can make, each told in one line.

The command line turns these (and `OSError`) into that line and a non-zero exit code; anything else is a defect of ours
and keeps its traceback.
"""


class ConfigError(ValueError):
    """A configuration that cannot be used: names the file and key, what was found and what was expected."""


class CheckpointError(ValueError):
    """A checkpoint folder that is missing, altered, or made for something else."""


class ObservationError(ValueError):
    """An observation of another layout, shape or range than the policy was trained on."""
