"""Several draws are the mean of single ones at the price of one look, and a teacher's plan has its own noise beside it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ObservationError
from diffpolicy.policy import Batch, DiffusionPolicy

Tiny = Callable[..., ExperimentConfig]
Make = Callable[..., DiffusionPolicy]

ROWS, DRAWS, SHRINK = 6, 3, 0.2
OBJECTIVES: dict[str, dict[str, Any]] = {
    "flow": {},
    "ddpm": {"objective": {"name": "ddpm", "prediction": "v"}, "sampler": "ddim"},
    "edm": {"objective": {"name": "edm"}, "sampler": "heun"},
    "regression": {"objective": {"name": "regression"}, "sampler": "direct", "steps": 1},
    "second look": {"objective": {"name": "regression", "second_look": 0.2, "error": "absolute"}, "sampler": "direct"},
    "mixture": {"objective": {"name": "mixture", "modes": 3}, "sampler": "direct", "steps": 1},
}


class Straight(nn.Module):
    """The velocity of a flow in which each noise goes straight to a share of itself, whatever is observed."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(SHRINK))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        t = t[:, None, None]
        return x * (1 - self.share) / (t + (1 - t) * self.share)


def batch(seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(
        obs={"state": torch.rand(ROWS, 2, 5, generator=g) * 300},
        action=torch.rand(ROWS, 16, 2, generator=g) * 512,
        mask=torch.rand(ROWS, 16, generator=g) < 0.3,
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[DiffusionPolicy, Tensor, Tensor], None]:
    """A function that has a policy's loss take these times and noises."""

    def give(policy: DiffusionPolicy, t: Tensor, noise: Tensor) -> None:
        monkeypatch.setattr(policy.objective, "times", lambda n, generator, device: t)
        monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: noise)

    return give


def learned(policy: DiffusionPolicy, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The plans and noises that the objective is asked about, filled by each loss."""
    asked: list[tuple[Tensor, Tensor]] = []
    whole = policy.objective.loss

    def loss(output: Tensor, x0: Tensor, noise: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        asked.append((x0, noise))
        return whole(output, x0, noise, t, weight)

    monkeypatch.setattr(policy.objective, "loss", loss)
    return asked


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_draws_are_the_mean_of_single_ones(name: str, masked: bool, tiny: Tiny, make_policy: Make, given: Any) -> None:
    policy, b = make_policy(tiny(policy=OBJECTIVES[name])), batch()
    if not masked:
        del b["mask"]
    g = seeded()
    t = policy.objective.times(ROWS * DRAWS, g, torch.device("cpu"))
    noise = torch.randn(ROWS * DRAWS, 16, 2, generator=g)
    together = policy.loss(b, generator=seeded(), draws=DRAWS)
    singles = []
    for draw in range(DRAWS):
        given(policy, t[draw::DRAWS], noise[draw::DRAWS])
        singles.append(policy.loss(b))
    torch.testing.assert_close(together, torch.stack(singles).mean())
    if name not in ("regression", "mixture"):  # which see neither times nor noise
        assert float(torch.stack(singles).detach().std()) > 1e-3


def test_several_draws_look_once(tiny: Tiny, make_policy: Make) -> None:
    policy, looks, evaluations = make_policy(tiny()), [], []
    policy.encoder.register_forward_hook(lambda module, inputs, output: looks.append(len(output)))
    policy.backbone.register_forward_hook(lambda module, inputs, output: evaluations.append(inputs))
    policy.loss(batch(), generator=seeded(), draws=DRAWS, observation_noise=0.1)
    assert looks == [ROWS]
    ((x, t, cond),) = evaluations
    assert (len(x), len(t), len(cond)) == (ROWS * DRAWS,) * 3
    assert torch.equal(cond.view(ROWS, DRAWS, -1)[:, 0], cond.view(ROWS, DRAWS, -1)[:, -1])
    assert len(t.unique()) == ROWS * DRAWS


def test_a_flow_that_is_straight_has_nothing_to_learn_from_itself(tiny: Tiny, make_policy: Make) -> None:
    """Its teacher's plan is where its own line from that noise ends: the loss is 0, as it is for no other noise."""
    student = make_policy(tiny())
    student.backbone = Straight()
    for steps in (1, 2, 5):  # one step or many: the line is straight
        teacher = make_policy(tiny(policy={"steps": steps}))
        teacher.backbone = Straight()
        loss = student.loss(batch(), generator=seeded(), draws=DRAWS, teacher=teacher)
        assert float(loss) < 1e-10
    assert float(student.loss(batch(), generator=seeded())) > 0.1
    whole = teacher.sample
    teacher.sample = lambda obs, noise: whole(obs, noise=noise.flip(0))  # type: ignore[method-assign]
    assert float(student.loss(batch(), generator=seeded(), teacher=teacher)) > 0.01


@pytest.mark.parametrize("draws", [1, DRAWS])
def test_what_is_learned_is_the_teachers_plan_for_this_observation_and_noise(
    draws: int, tiny: Tiny, make_policy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the units of the student, whose ranges are others."""
    student, teacher, b = make_policy(tiny(), seed=1), make_policy(tiny(), seed=2), batch()
    asked = learned(student, monkeypatch)
    loss = student.loss(b, generator=seeded(), draws=draws, teacher=teacher)
    b["action"] = b["action"].flip(0)  # what was recorded plays no part
    assert torch.equal(student.loss(b, generator=seeded(), draws=draws, teacher=teacher), loss)
    x0, noise = asked[0]
    assert (len(x0), noise.shape) == (ROWS * draws, x0.shape)
    for row in range(ROWS * draws):
        obs = {"state": b["obs"]["state"][row // draws][None]}
        plan = teacher.sample(obs, noise=noise[row][None, None])
        assert isinstance(plan, Tensor)
        torch.testing.assert_close(x0[row], student.normalizer.normalize("action", plan[0, 0]), rtol=0, atol=1e-4)
    assert x0.flatten(1).std(dim=0).min() > 1e-3


def test_plans_are_learned_from_the_noise_that_they_will_start_from(
    tiny: Tiny, make_policy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, noises = make_policy(tiny(), seed=2), []
    for scale in (1.0, 0.5):
        student = make_policy(tiny(policy={"noise_scale": scale}), seed=1)
        asked = learned(student, monkeypatch)
        student.loss(batch(), generator=seeded(), draws=DRAWS, teacher=teacher)
        student.loss(batch(), generator=seeded())
        noises.append([noise for _, noise in asked])
    (whole, recorded), (half, recorded_too) = noises
    torch.testing.assert_close(half, 0.5 * whole)
    assert torch.equal(recorded, recorded_too)  # recorded actions are learned from all noise


def test_a_plan_of_the_teacher_is_seen_at_several_times(tiny: Tiny, make_policy: Make) -> None:
    student, teacher = make_policy(tiny(), seed=1), make_policy(tiny(), seed=2)
    rows: list[int] = []
    whole = teacher.sample

    def sample(obs: Any, noise: Tensor) -> Any:
        rows.append(noise.shape[0] * noise.shape[1])
        return whole(obs, noise=noise)

    teacher.sample = sample  # type: ignore[method-assign, assignment]
    student.loss(batch(), generator=seeded(), draws=DRAWS, teacher=teacher)
    assert rows == [ROWS]


def test_a_teacher_plans_in_full_precision_while_its_pupil_does_not(
    tiny: Tiny, make_policy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = make_policy(tiny(), seed=1), make_policy(tiny(), seed=2)
    asked, kinds = learned(student, monkeypatch), {"student": set(), "teacher": set()}
    for name, policy in (("student", student), ("teacher", teacher)):
        layer = next(module for module in policy.backbone.modules() if isinstance(module, nn.Linear))
        layer.register_forward_hook(lambda module, inputs, output, name=name: kinds[name].add(output.dtype))
    student.loss(batch(), generator=seeded(), teacher=teacher)
    assert kinds["student"] == kinds["teacher"] == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        student.loss(batch(), generator=seeded(), teacher=teacher)
    assert kinds == {"student": {torch.float32, torch.bfloat16}, "teacher": {torch.float32}}
    (exact, _), (lowered, _) = asked
    assert torch.equal(exact, lowered)


def test_a_teacher_stays_as_it_is(tiny: Tiny, make_policy: Make) -> None:
    backbone = {"name": "mlp", "width": 16, "blocks": 1, "cond_width": 8, "dropout": 0.5}
    student, teacher = make_policy(tiny()), make_policy(tiny(policy={"backbone": backbone}), seed=2).train()
    losses = [student.train().loss(batch(), generator=seeded(), teacher=teacher) for _ in range(2)]
    assert torch.equal(*losses)  # its dropout would make them differ
    losses[0].backward()
    assert [name for name, p in teacher.named_parameters() if p.grad is not None] == []
    assert all(p.grad is not None for p in student.parameters())
    assert teacher.training


def test_a_teacher_that_sees_what_is_not_there_says_so(tiny: Tiny, make_policy: Make) -> None:
    teacher = make_policy(tiny(policy={"observations": ["keypoints"]}))
    with pytest.raises(ObservationError, match=r"observation lacks 'keypoints': .*found state"):
        make_policy(tiny()).loss(batch(), generator=seeded(), teacher=teacher)
