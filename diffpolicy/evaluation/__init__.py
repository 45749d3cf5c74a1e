"""Trying a policy in closed loop: the controller, one batched rollout, metrics with intervals, and `eval.json`."""
