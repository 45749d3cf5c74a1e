"""Pictures take arrays: drawing them must not pull in torch, the environment or the policy."""

import subprocess
import sys


def test_no_torch_and_no_environment_is_imported() -> None:
    code = (
        "import sys, diffpolicy.visualization as v;"
        "heavy = {'torch', 'diffusers', 'gymnasium', 'pymunk', 'diffpolicy_envs', 'matplotlib.pyplot'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
