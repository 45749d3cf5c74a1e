"""Experiments as plain data: YAML files and `config.json` checked against the dataclasses of `config.py`, and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pydantic
import yaml

from diffpolicy import config
from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ConfigError, suggestion


def config_from_dict(data: Any, source: str, cls: type = ExperimentConfig) -> Any:
    """Check plain data against a config dataclass.

    Args:
        data: nested dicts and lists, as YAML and JSON give them; absent keys take their defaults.
        source: where the data came from, for the message.
        cls: the dataclass to build.

    Raises:
        ConfigError: one line that names the key, what was found, and the closest known key for a misspelt one.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: found {type(data).__name__} where a mapping of keys to values was expected")
    try:
        json.dumps(data)  # a checkpoint keeps it as JSON, so what YAML can say and JSON cannot (a date) is told now
    except TypeError as error:
        raise ConfigError(f"{source}: {error}; write it as text, in quotes") from None
    try:
        return pydantic.TypeAdapter(cls).validate_python(data)
    except pydantic.ValidationError as error:
        # An unknown key often causes the rest, so it goes first.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != _UNKNOWN_KEY)
        raise ConfigError(f"{source}: {_explain(problems[0])}") from None


_UNKNOWN_KEY = "unexpected_keyword_argument"


def _explain(problem: Any) -> str:
    kinds = {getattr(cls, "name", None) for cls in _classes()}  # pydantic's place holds them, the user's file does not
    where = ".".join(str(part) for part in problem["loc"] if part not in kinds)
    if problem["type"] == _UNKNOWN_KEY:
        hint = suggestion(str(problem["loc"][-1]), _all_keys(), "`diffpolicy train --help` lists the known ones")
        return f"unknown key {where!r}; {hint}"
    if problem["type"] == "union_tag_not_found":
        return f"{where}: `name` is missing, which says of what kind it is, such as 'mlp' or 'unet1d', 'flow' or 'ddpm'"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if problem["type"] == "value_error" else f" (found {problem['input']!r})"
    return f"{where + ': ' if where else ''}{message[0].lower() + message[1:]}{found}"


def _classes() -> list[Any]:
    return [c for c in vars(config).values() if isinstance(c, type) and dataclasses.is_dataclass(c)]


def _all_keys() -> list[str]:
    return sorted({f.name for c in _classes() for f in dataclasses.fields(c)})


def config_to_dict(chosen: Any) -> dict[str, Any]:
    """The plain data of a config: `config_from_dict` gives the same config back."""
    return json.loads(json.dumps(dataclasses.asdict(chosen)))


def configs_folder() -> Path:
    """Where the shipped experiments lie: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def shipped_experiments() -> list[str]:
    """The names that `load_config` knows."""
    return sorted(path.stem for path in configs_folder().glob("*.yaml"))


def load_config(name_or_path: str) -> ExperimentConfig:
    """Read an experiment from a shipped name (`pusht_state_mlp`) or the path of a YAML file.

    Raises:
        ConfigError: no such file or name (with the names there are), not YAML, or a key or value that does not fit.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = configs_folder() / f"{name_or_path}.yaml"
    if not path.is_file():
        hint = suggestion(name_or_path, shipped_experiments(), f"shipped: {', '.join(shipped_experiments())}")
        raise ConfigError(f"no experiment {name_or_path!r}: give the path of a YAML file or a shipped name; {hint}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    return config_from_dict({} if data is None else data, str(path))
