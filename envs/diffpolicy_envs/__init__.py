"""The simulated worlds that policies act in.

Gymnasium 1.x loads no plugins, so importing this package is what registers its environments: either import it
before `gym.make("diffpolicy/PushT-v0")`, or let Gymnasium do so with `gym.make("diffpolicy_envs:diffpolicy/PushT-v0")`.
"""

import gymnasium

PUSHT_ID = "diffpolicy/PushT-v0"
PERTURBED_PUSHT_ID = "diffpolicy/PushTPerturbed-v0"

# A reload would register the ids anew, which Gymnasium answers with a warning.
if PUSHT_ID not in gymnasium.registry:
    gymnasium.register(
        id=PUSHT_ID,
        entry_point="diffpolicy_envs.pusht:PushTEnv",
        vector_entry_point="diffpolicy_envs.pusht:PushTVectorEnv",
        max_episode_steps=300,
    )
    gymnasium.register(id=PERTURBED_PUSHT_ID, entry_point="diffpolicy_envs.pusht:make_perturbed", max_episode_steps=300)

__all__ = ["PERTURBED_PUSHT_ID", "PUSHT_ID"]
