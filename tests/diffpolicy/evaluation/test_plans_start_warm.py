"""What plans start from: noise of the size that was asked, and, where they start warm, what is left of the plan before."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.config import DDPMConfig, PolicyConfig, RegressionConfig
from diffpolicy.diffusion import look_times
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.policy import DiffusionPolicy

OBS_HORIZON, PRED_HORIZON = 3, 16
HERE = np.array([100.0, 200.0, 300.0, 250.0, 1.0])
Make = Callable[..., DiffusionPolicy]
OBJECTIVES = {
    "flow": {"objective": {"name": "flow"}, "sampler": "euler"},
    "edm": {"objective": {"name": "edm"}, "sampler": "dpmpp_2m"},
    "ddpm": {"objective": {"name": "ddpm"}, "sampler": "ddim"},
}


class Clock(DiffusionPolicy):
    """A policy whose plans say of each action the moment that it is for; it remembers what they were to start from."""

    obs_shapes = {"clock": (1,)}  # noqa: RUF012 - never changed
    action_dim = 2

    def __init__(self, **acting: Any) -> None:
        torch.nn.Module.__init__(self)  # no network: the plans are known
        horizons = {"obs_horizon": OBS_HORIZON, "pred_horizon": PRED_HORIZON, "action_horizon": 4}
        self.config = PolicyConfig(observations=("clock",), **horizons | acting)
        self.guesses: list[np.ndarray | None] = []
        self.warm: list[float] = []

    def sample(
        self, obs: Mapping[str, np.ndarray], *, guess: np.ndarray | None, warm_start: float, **_: Any
    ) -> torch.Tensor:
        self.guesses.append(None if guess is None else guess[0])
        self.warm.append(warm_start)
        now, speed = float(obs["clock"][0, -1, 0]), self.config.execution_speed
        moments = now + (torch.arange(PRED_HORIZON, dtype=torch.float64) - OBS_HORIZON + 1) / speed
        return torch.stack([moments, -moments], dim=-1)[None, None]


def drive(controller: Controller, steps: int) -> None:
    for t in range(steps):
        controller({"clock": np.array([float(t)])})


@pytest.mark.parametrize(
    ("action_horizon", "delay", "speed"), [(4, 0, 1.0), (3, 0, 1.5), (1, 0, 3.0), (4, 3, 1.0), (2, 1, 0.5)]
)
def test_a_guess_says_what_the_plan_before_said_of_the_same_moments(
    action_horizon: int, delay: int, speed: float
) -> None:
    policy = Clock(action_horizon=action_horizon, execution_speed=speed, warm_start=0.5)
    drive(Controller(policy, delay=delay), 20)
    assert policy.guesses[0] is None, "none came before"
    assert set(policy.warm) == {0.5}
    for number, guess in enumerate(policy.guesses[1:], start=1):
        assert guess is not None
        now = number * action_horizon
        wanted = now + (np.arange(PRED_HORIZON) - OBS_HORIZON + 1) / speed
        last = now - action_horizon + (PRED_HORIZON - OBS_HORIZON) / speed  # what the plan before says last is held
        np.testing.assert_allclose(guess[:, 0], np.minimum(wanted, last), atol=1e-9)
        np.testing.assert_allclose(guess[:, 1], -guess[:, 0])


def test_without_a_warm_start_there_is_no_guess() -> None:
    policy = Clock()
    drive(Controller(policy), 20)
    assert policy.guesses == [None] * 5
    policy = Clock(warm_start=0.25)
    drive(Controller(policy, warm_start=0.0), 20)
    assert policy.guesses == [None] * 5


def test_a_reset_forgets_the_plan() -> None:
    policy = Clock(warm_start=0.5)
    controller = Controller(policy)
    drive(controller, 8)
    controller.reset()
    drive(controller, 8)
    assert [guess is None for guess in policy.guesses] == [True, False, True, False]


def test_a_policy_that_stands_still_starts_from_noise_alone(tiny: Any, make_policy: Make) -> None:
    policy = make_policy(tiny(policy={"action_horizon": 2, "patience": 4, "warm_start": 0.5}))
    controller, cold = Controller(policy), []
    for _ in range(10):
        controller(HERE)
        if len(controller._queue) == 1:
            cold.append(controller.guess is None)
    assert cold == [True, False, True, True, True]


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_way_starts_from_the_guess_with_so_much_noise(
    objective: dict[str, Any], share: float, tiny: Any, make_policy: Make
) -> None:
    policy = make_policy(tiny(policy={**objective, "steps": 3, "warm_start": share}))
    obs = {"state": np.tile(HERE, (2, 2, 1))}
    noise = torch.randn(2, 4, 16, 2, generator=torch.Generator().manual_seed(0))
    guess = 512 * torch.rand(2, 16, 2, generator=torch.Generator().manual_seed(1))
    x, path = policy.sample(obs, noise=noise, guess=guess, return_path=True)
    t = look_times(policy.objective, policy.config.sampler, 3, 1 - share)
    assert len(t) == 3
    assert t[0] == pytest.approx(1 - share, abs=0.01)
    signal, sigma = policy.objective.rates(t[0])
    start = policy.normalizer.normalize("action", path[0])
    torch.testing.assert_close(start, signal * policy.normalizer.normalize("action", guess)[:, None] + sigma * noise)
    assert torch.equal(path[-1], x)
    other = policy.sample(obs, noise=noise, guess=guess.numpy(), warm_start=share / 2)
    assert not torch.equal(other, x), "the share asked for counts"
    assert torch.equal(policy.sample(obs, noise=noise, guess=guess, warm_start=0.0), policy.sample(obs, noise=noise))


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("start", [1.0, 0.6, 0.3])
def test_a_schedule_from_later_on_lies_within_the_whole_way(
    objective: dict[str, Any], start: float, tiny: Any, make_policy: Make
) -> None:
    solved = make_policy(tiny(policy=objective)).objective
    times = look_times(solved, objective["sampler"], 6, start)
    assert len(times) == 6
    assert times[0] == pytest.approx(start, abs=0.01)
    assert all(after < before for before, after in pairwise(times))
    assert times[-1] >= 0


def test_noise_is_the_generators_and_scaled() -> None:
    """Bit for bit what `policy.sample` would draw."""
    whole, half = (Controller(Clock(), noise_scale=scale, seed=7) for scale in (1.0, 0.5))
    generator = torch.Generator().manual_seed(7)
    for _ in range(5):
        drawn = torch.randn(1, PRED_HORIZON, 2, generator=generator)
        assert torch.equal(whole.start()[0], drawn)
        assert torch.equal(half.start()[0], 0.5 * drawn)
    assert not Controller(Clock(), noise_scale=0.0).start()[0].any()


def test_a_plan_is_what_the_policy_makes_of_its_own_noise(tiny: Any, make_policy: Make) -> None:
    policy = make_policy(tiny())
    controller, generator = Controller(policy, seed=5), torch.Generator().manual_seed(5)
    for _ in range(2):
        done = [controller({"state": HERE}) for _ in range(8)]
        plan = policy.sample({"state": np.tile(HERE, (1, 2, 1))}, generator=[generator])
        np.testing.assert_array_equal(np.stack(done), plan[0, 0, 1:9].numpy())


def test_the_policys_own_manner_holds_unless_told_otherwise() -> None:
    policy = Clock(noise_scale=0.5, warm_start=0.25)
    own, told = Controller(policy), Controller(policy, noise_scale=0.0, warm_start=0.75)
    assert (own.noise_scale, own.warm_start) == (0.5, 0.25)
    assert (told.noise_scale, told.warm_start) == (0.0, 0.75)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"noise_scale": -1.0}, r"^noise_scale is -1\.0; a standard deviation is 0 or more, and finite$"),
    "no number": ({"noise_scale": float("nan")}, "^noise_scale is nan; "),
    "without end": ({"noise_scale": float("inf")}, "^noise_scale is inf; .* finite$"),
    "nothing left": ({"warm_start": 1.0}, r"^warm_start is 1\.0; .* at least 0 and less than 1$"),
    "less than nothing": ({"warm_start": -0.1}, r"^warm_start is -0\.1; "),
    "no share": ({"warm_start": float("nan")}, "^warm_start is nan; "),
}


@pytest.mark.parametrize(("choices", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused_in_one_line(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Controller(Clock(), **choices)


def test_a_guess_of_another_shape_is_refused(tiny: Any, make_policy: Make) -> None:
    with pytest.raises(ConfigError, match=r"^guess has shape \(1, 8, 2\); expected \(1, 16, 2\): one plan for each"):
        make_policy(tiny(policy={"warm_start": 0.5})).sample(
            {"state": HERE[None, None].repeat(2, 1)}, guess=np.zeros((1, 8, 2))
        )


def test_what_is_not_denoised_does_not_start_warm() -> None:
    told: dict[str, Any] = {"objective": RegressionConfig(), "sampler": "direct", "steps": 1, "warm_start": 0.5}
    with pytest.raises(ValueError, match=r"warm_start is 0\.5, but objective 'regression' is not denoised"):
        Clock(**told)
    few: dict[str, Any] = {"sampler": "ddim", "steps": 11, "warm_start": 0.5}
    with pytest.raises(ValueError, match=r"steps 11 does not fit: warm_start 0\.5 leaves 50% of"):
        Clock(objective=DDPMConfig(train_timesteps=20), **few)
    with pytest.raises(ConfigError, match=r"warm_start is 0\.5, but objective 'regression' is not denoised"):
        Controller(Clock(**told | {"warm_start": 0.0}), warm_start=0.5)
    with pytest.raises(ConfigError, match=r"steps 11 does not fit: warm_start 0\.5 leaves 50% of"):
        Controller(Clock(objective=DDPMConfig(train_timesteps=20), sampler="ddim", steps=11), warm_start=0.5)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"guess": np.full((1, 16, 2), np.nan)}, "guess holds NaN or infinity"),
        ({"guess": np.zeros((1, 8, 2)), "warm_start": 0.0}, r"guess has shape \(1, 8, 2\)"),
        ({"warm_start": 7.0}, r"warm_start is 7\.0; a share"),
        ({"guess": np.zeros((1, 16, 2)), "warm_start": -0.1}, r"warm_start is -0\.1; a share"),
    ],
)
def test_a_guess_or_share_that_cannot_be(choices: dict[str, Any], message: str, tiny: Any, make_policy: Make) -> None:
    with pytest.raises(ConfigError, match=message):
        make_policy(tiny(policy={"warm_start": 0.5})).sample({"state": np.tile(HERE, (1, 2, 1))}, **choices)


def test_noise_levels_are_those_of_a_path_that_starts_warm(tiny: Any, make_policy: Make) -> None:
    policy = make_policy(tiny(policy={"steps": 4}))
    assert policy.noise_levels(warm_start=0.5).tolist() == pytest.approx([0.5, 0.375, 0.25, 0.125, 0.0])
