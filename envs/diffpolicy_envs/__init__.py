"""The simulated worlds that policies act in.

Gymnasium 1.x loads no plugins, so importing this package is what registers its environments: either import it
before `gym.make("diffpolicy/PushT-v0")`, or let Gymnasium do so with `gym.make("diffpolicy_envs:diffpolicy/PushT-v0")`.
"""

import gymnasium

PUSHT_ID = "diffpolicy/PushT-v0"

# A reload would register the id anew, which Gymnasium answers with a warning.
if PUSHT_ID not in gymnasium.registry:
    gymnasium.register(id=PUSHT_ID, entry_point="diffpolicy_envs.pusht:PushTEnv", max_episode_steps=300)

__all__ = ["PUSHT_ID"]
