"""How a released policy fails: what the episodes it did not solve have in common, counted and drawn for its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffpolicy.checkpoint import load_checkpoint
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.moment import agent_px, drawable
from diffpolicy.evaluation.watch import watch
from diffpolicy.visualization.episodes import episodes_picture
from diffpolicy.visualization.video import write_picture

PICTURE = "failures.png"
_LOST, _ALMOST = 0.5, 0.9
"""Best scores below which an episode is lost, and above which only the last millimetres were missing."""
_EACH = 3


def describe(result: Mapping[str, Any]) -> str:
    """Markdown: how many episodes failed, in which ways, from an evaluation's records."""
    failed = [record for record in result["records"] if not record["success"]]
    lost = sum(record["score"] < _LOST for record in failed)
    almost = sum(record["score"] >= _ALMOST for record in failed)
    return (
        f"Of {result['episodes']} episodes (protocol {result['protocol']}, {result['nfe']} network evaluations) "
        f"{len(failed)} failed: {lost} were lost, with a best score below {_LOST:g} (the agent goes to and fro before a "
        f"block that it does not get hold of); {almost} reached a score of {_ALMOST:g} or more and missed the last of it "
        f"within the time; {len(failed) - lost - almost} lie between.\n\n![Failed episodes]({PICTURE})\n"
    )


def draw(checkpoint: Path, result: Mapping[str, Any], path: Path) -> None:
    """The first lost and the first almost solved episodes: their ends, and the agent's ways."""
    policy, meta = load_checkpoint(checkpoint)
    task = drawable(policy)
    settings = settings_of(meta["experiment"], protocol=result["protocol"], steps=result["nfe"])
    failed = [record for record in result["records"] if not record["success"]]
    lost = [record for record in failed if record["score"] < _LOST][:_EACH]
    almost = [record for record in failed if record["score"] >= _ALMOST][:_EACH]
    scenes, trails, captions = [], [], []
    for record, kind in [*((each, "lost") for each in lost), *((each, "almost") for each in almost)]:
        moments = list(watch(policy, settings, record["seed"]))
        scenes.append(moments[-1].scene)
        trails.append(np.array([agent_px(seen.history) for seen in moments]))
        captions.append(f"{kind}: seed {record['seed']}\nbest score {record['score']:.2f}")
    if scenes:
        title = f"How it fails: {len(failed)} of {result['episodes']} episodes"
        write_picture(path, episodes_picture(scenes, trails, captions, title=title, workspace_px=task.workspace_px))
