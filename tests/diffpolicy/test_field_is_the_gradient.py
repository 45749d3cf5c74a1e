"""Of a mixture of normal distributions the best network is known in closed form: its field must be the known density's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from diffpolicy import field
from diffpolicy.config import PolicyConfig
from diffpolicy.config_file import config_from_dict
from diffpolicy.diffusion import Objective, look_times
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.policy import DiffusionPolicy

OBJECTIVES: dict[str, dict[str, Any]] = {
    "flow": {"name": "flow"},
    "epsilon": {"name": "ddpm", "prediction": "epsilon"},
    "v": {"name": "ddpm", "prediction": "v"},
    "sample": {"name": "ddpm", "prediction": "sample"},
    "edm": {"name": "edm"},
}
OBS = {"state": torch.tensor([[[1.0]]])}
HALF, CENTER = torch.tensor([200.0, 120.0]), torch.tensor([256.0, 300.0])


class Known(nn.Module):
    """Data from a mixture of normal distributions of whole plans, in normalized units, and what the best network says."""

    def __init__(self, objective: Objective, horizon: int, modes: int = 2) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(horizon)
        size = 2 * horizon
        self.objective, self.horizon = objective, horizon
        self.weight = torch.tensor([0.6, 0.4], dtype=torch.float64)[:modes] / (1.0 if modes == 2 else 0.6)
        # All actions of a mode lie about one place, each mode's at another, and neighbours in time vary together.
        place = torch.tensor([[-0.45, 0.25], [0.4, -0.3]], dtype=torch.float64)[:modes]
        self.mean = place.repeat(1, horizon) + 0.1 * torch.randn(modes, size, generator=g, dtype=torch.float64)
        along = torch.arange(horizon).repeat_interleave(2).double()
        near = 0.8 ** (along[:, None] - along).abs()
        axes = torch.arange(size) % 2
        tilted = torch.where(axes[:, None] == axes, 1.0, 0.4)
        self.cov = 0.15**2 * (near * tilted).repeat(modes, 1, 1)

    def at(self, t: float, part: slice = slice(None)) -> MixtureSameFamily:
        """p_t of some of a plan's numbers."""
        signal, sigma = self.objective.rates(t, torch.float64)
        mean, cov = signal * self.mean[:, part], signal**2 * self.cov[:, part, part]
        return MixtureSameFamily(
            Categorical(self.weight),
            MultivariateNormal(mean, cov + sigma**2 * torch.eye(mean.shape[1], dtype=torch.float64)),
        )

    def expected(self, x: Tensor, t: float) -> Tensor:
        """E[x_0 | x_t]: the mean of each mode's, weighted by how likely it is that x_t grew from it."""
        signal, _ = self.objective.rates(t, torch.float64)
        law = self.at(t)
        parts = law.component_distribution
        share = (law.mixture_distribution.logits + parts.log_prob(x[:, None])).softmax(dim=-1)
        gain = signal * self.cov @ parts.covariance_matrix.inverse()
        each = self.mean + torch.einsum("mij,bmj->bmi", gain, x[:, None] - signal * self.mean)
        return (share[..., None] * each).sum(dim=1)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """What implies that."""
        time = float(t[0])
        first, second, third = self.objective.implied(time, torch.float64)
        state = x.double() / self.objective.scale_seen(time)
        x0 = self.expected(state.flatten(1), time).view_as(state)
        return ((third * x0 - first * state) / second).to(x.dtype)


def make(name: str, horizon: int, *, world: bool = True, modes: int = 2) -> tuple[DiffusionPolicy, Known]:
    """A policy of one observation whose network is the best there is."""
    said = {
        "task": "plain",
        "obs_horizon": 1,
        "pred_horizon": horizon,
        "action_horizon": 1,
        "backbone": {"name": "mlp", "width": 16, "blocks": 1, "cond_width": 8},
        "objective": OBJECTIVES[name],
        "sampler": "euler",
        "steps": 10,
    }
    policy = DiffusionPolicy(config_from_dict(said, "test", PolicyConfig), {"state": (1,)}, 2)
    policy.backbone = known = Known(policy.objective, horizon, modes)  # type: ignore[assignment]
    if world:
        policy.normalizer.get_buffer("action_half_range").copy_(HALF)
        policy.normalizer.get_buffer("action_center").copy_(CENTER)
    return policy.eval(), known


def grid(side: int = 21) -> Tensor:
    """Places all over the demonstrated range and beyond, normalized."""
    line = torch.linspace(-1.3, 1.3, side, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


def gradient(law: MixtureSameFamily, at: Tensor) -> tuple[Tensor, Tensor]:
    """Of the log density; and where the density is not negligible."""
    at = at.clone().requires_grad_()
    log = law.log_prob(at)
    (found,) = torch.autograd.grad(log.sum(), at)
    return found, log > log.max() - 12


def off(found: Tensor, expected: Tensor) -> float:
    """The greatest difference, as a share of the typical length of what was expected."""
    return float((found - expected).norm(dim=-1).max() / expected.norm(dim=-1).square().mean().sqrt())


TIMES = [0.1, 0.3, 0.6, 0.9, 1.0]


@pytest.mark.parametrize("world", [False, True])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_score_is_the_gradient_of_the_log_density(name: str, horizon: int, world: bool) -> None:
    """All over a grid of places of one action, the others where they are most likely; in the world's units too."""
    policy, known = make(name, horizon, world=world)
    half, center = (HALF, CENTER) if world else (torch.ones(2), torch.zeros(2))
    for t in TIMES if name != "edm" else [0.5, 0.6, 0.75, 0.9, 1.0]:
        plans = policy.objective.rates(t)[0] * known.mean[0].view(horizon, 2).repeat(441, 1, 1)
        plans[:, horizon // 2] = grid()
        expected, counts = gradient(known.at(t), plans.flatten(1))
        x = (plans * half + center).float()
        found = field.score(policy, OBS, x[None], t)[0]
        in_units = (expected.view_as(plans) / half)[counts]
        assert counts.sum() > 20
        assert off(found[counts].flatten(1), in_units.flatten(1)) < 0.01


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_field_of_a_plan_of_one_action_is_exact(name: str) -> None:
    policy, known = make(name, 1)
    t = 0.75
    g = torch.Generator().manual_seed(0)
    states = torch.randn(40, 1, 2, generator=g) * HALF + CENTER
    expected, counts = gradient(known.at(t), grid())
    points = (grid() * HALF + CENTER).float()
    found = field.marginal(field.score, policy, OBS, states, points, 0, t, near=3)
    assert off(found[counts], expected[counts] / HALF) < 0.01
    asked = field.velocity(policy, OBS, points[None, :, None], t)[0, :, 0]
    moving = field.marginal(field.velocity, policy, OBS, states, points, 0, t, near=3)
    torch.testing.assert_close(moving, asked, rtol=1e-4, atol=1e-2)


def samples(known: Known, n: int, t: float) -> Tensor:
    """Of p_t, in the world's units."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return (known.at(t).sample((n,)).view(n, known.horizon, 2) * HALF + CENTER).float()


@pytest.mark.parametrize("modes", [1, 2])
@pytest.mark.parametrize(("t", "most"), [(0.3, 0.06), (0.6, 0.02), (0.9, 0.001)])
def test_the_field_of_one_action_of_many_is_that_of_its_own_density(t: float, most: float, modes: int) -> None:
    """Within what a finite number of states leaves, less of more; actions next in time are correlated by 0.8."""
    policy, known = make("flow", 3, modes=modes)
    own = known.at(t, slice(2, 4))
    expected, _ = gradient(own, grid())
    log = own.log_prob(grid())
    counts = log > log.max() - 3
    states, points = samples(known, 2000, t), (grid() * HALF + CENTER).float()
    errors = []
    for near in (4, 64):
        found = field.marginal(field.score, policy, OBS, states, points, 1, t, near=near) * HALF
        errors.append(float((found - expected)[counts].norm() / expected[counts].norm()))
    assert errors[1] < most
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_samples_tell_the_same_density_without_the_network(name: str) -> None:
    policy, known = make(name, 3)
    t = 0.75
    plans = samples(known, 4000, 0.0 if name == "edm" else 0.01)
    at = (grid() * HALF + CENTER).requires_grad_()
    log = field.log_density(policy, plans, at, 1, t)
    (slope,) = torch.autograd.grad(log.sum(), at)
    expected, counts = gradient(known.at(t, slice(2, 4)), grid())
    likely = counts & (log > log.max() - 3)
    law = known.at(t, slice(2, 4)).log_prob(grid()) - HALF.double().log().sum()
    torch.testing.assert_close(log.detach()[likely], law[likely], rtol=0, atol=0.1)
    assert (slope * HALF - expected)[likely].norm() / expected[likely].norm() < 0.05


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_against_the_velocity_is_the_next_frame(name: str) -> None:
    """In the world's units, of a path of `policy.sample`; a step so short that a turn is nearly a straight line."""
    policy, _ = make(name, 3)
    steps = 100
    x, path = policy.sample(OBS, n=5, steps=steps, return_path=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(path[-1], policy.sample(OBS, n=5, steps=steps, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(path[-1], x)
    times = look_times(policy.objective, "euler", steps)
    for index in (20, 50, 80):
        levels = torch.tensor([policy.objective.noise_level(t) for t in times[index : index + 2]], dtype=torch.float64)
        way = levels if name == "flow" else levels.asin() * 2 / torch.pi
        step = float(way[0] - way[1]) * field.velocity(policy, OBS, path[index], times[index])
        moved = path[index] - path[index + 1]
        assert (moved - step).norm() < 0.06 * moved.norm()


def test_a_number_that_never_varied_has_no_score() -> None:
    policy, _ = make("flow", 1)
    policy.normalizer.get_buffer("action_half_range")[1] = 0.0
    x = torch.tensor([[[[300.0, 120.0]]]])
    assert field.score(policy, OBS, x, 0.5)[..., 1] == 0
    assert field.score(policy, OBS, x, 0.5)[..., 0] != 0
    assert field.velocity(policy, OBS, x, 0.5)[..., 1] == 0


def test_a_policy_in_training_is_asked_without_dropout_and_left_as_it_was() -> None:
    policy, _ = make("flow", 1)
    seen = []
    policy.backbone.register_forward_hook(lambda module, given, said: seen.append(module.training))
    policy.train()
    field.score(policy, OBS, torch.zeros(1, 2, 1, 2), 0.5)
    assert seen == [False]
    assert policy.training


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no noise": ({"t": 0.0}, "^t is 0.0; "),
    "more than noise": ({"t": 1.5}, "^t is 1.5; "),
    "action": ({"action": 3}, "^action is 3; a plan of this policy has actions 0 to 2$"),
    "near": ({"near": 11}, "^near is 11, of 10 states"),
    "none near": ({"near": 0}, "^near is 0, of 10 states"),
    "plans": ({"states": torch.zeros(10, 4, 2)}, r"^x has shape \(1, \d+, 4, 2\); expected \(1, n, 3, 2\)"),
}


@pytest.mark.parametrize(("wrong", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_asked_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    policy, _ = make("flow", 3)
    states, points = torch.zeros(10, 3, 2), torch.zeros(4, 2)
    asked: dict[str, Any] = {"states": states, "points": points, "action": 1, "t": 0.5, "near": 4}
    with pytest.raises(ConfigError, match=words) as refused:
        field.marginal(field.score, policy, OBS, **{**asked, **wrong})
    assert "\n" not in str(refused.value)


def test_another_observation_is_refused() -> None:
    policy, _ = make("flow", 3)
    with pytest.raises(ObservationError, match="observation lacks 'state'"):
        field.score(policy, {"other": torch.zeros(1, 1, 1)}, torch.zeros(1, 1, 3, 2), 0.5)
