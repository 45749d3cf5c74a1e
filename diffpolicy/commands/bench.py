"""`diffpolicy bench`: measure ours beside its peers, on your machine, in one run.

What is measured lives in `diffpolicy.benchmarking`; here is which benchmarks there are.
"""

from __future__ import annotations

from diffpolicy.commands.arguments import Subcommand, run_subcommand
from diffpolicy.commands.bench_data import DataArguments, data
from diffpolicy.commands.bench_env import EnvArguments, env
from diffpolicy.commands.bench_eval import EvalArguments, evaluation
from diffpolicy.commands.bench_sample import SampleArguments, sampling
from diffpolicy.commands.bench_train import TrainArguments, training


def run(argv: list[str]) -> None:
    """Runs `diffpolicy bench` with the arguments after it.

    Raises:
        ConfigError: Arguments that contradict each other, told in one line.
        OSError: No network, no space, no permission, a peer that fails (`PeerError`), told in one line.
        SystemExit: After `--help`, with code 0; with code 2 after one line about arguments that do not fit.
    """
    run_subcommand(argv, _COMMANDS, prog="diffpolicy bench", text=_HELP)


_COMMANDS: dict[str, Subcommand] = {
    "env": (EnvArguments, env, "Push-T beside gym-pusht: agreement and speed"),
    "data": (DataArguments, data, "training windows a second, beside plain zarr and a DataLoader"),
    "train": (TrainArguments, training, "a training step, beside plain PyTorch and the machine's matrix rate"),
    "sample": (SampleArguments, sampling, "a plan, beside a plain diffusers loop and the machine's limits"),
    "eval": (EvalArguments, evaluation, "an evaluation, beside gym-pusht in an AsyncVectorEnv"),
}
_HELP = """usage: diffpolicy bench COMMAND ...

Measurements beside peers, which anyone can repeat: both sides in one run on one machine, in alternation.

commands:
{commands}

For example:
  diffpolicy bench env
  diffpolicy bench env --only speed --out env.json
  diffpolicy bench data my_episodes.zarr
  diffpolicy bench train --backbone mlp
  diffpolicy bench sample pusht-state --out sampling.json
  diffpolicy bench eval --episodes 100

`diffpolicy bench COMMAND --help` explains a command's options."""
