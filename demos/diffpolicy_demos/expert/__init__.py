"""An expert that solves Push-T by planning pushes: demonstrations without people."""

from diffpolicy_demos.expert.planner import MODES, Mode, PushTExpert

__all__ = ["MODES", "Mode", "PushTExpert"]
