"""The engine's direct path and pymunk's public interface are the same world, bit for bit, and open each other's moments."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from diffpolicy_envs.pusht import PhysicsState, PushTEnv, PushTPhysics, engine, sample_start

SCALES = [0.5, 1.0, 1.25]


pytestmark = pytest.mark.skipif(
    not engine.available(), reason="this pymunk's engine is of no known layout, so there is only the public path"
)


class PublicPhysics(PushTPhysics):
    """A table that uses nothing but pymunk's public interface, also where it builds itself anew."""

    def _build(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "available", lambda: False)
            super()._build()


def random_state(rng: np.random.Generator) -> np.ndarray:
    """Anywhere, so over walls and in the agent as well."""
    return np.array([*rng.uniform(10, 500, 4), rng.uniform(-10, 10)])


def pushes(physics: PushTPhysics, rng: np.random.Generator, count: int) -> list[list[float]]:
    return np.clip(physics.block_pose[:2] + rng.uniform(-100, 100, (count, 2)), 0, 512).tolist()


def same_bits(one: PushTPhysics, other: PushTPhysics) -> bool:
    return [value.hex() for value in one.read()] == [value.hex() for value in other.read()]


def test_the_public_path_is_really_another() -> None:
    assert PushTPhysics()._memory is not None
    table = PublicPhysics()
    assert table._memory is None
    table.set_state(np.array([100.0, 100.0, 200.0, 200.0, 0.0]))
    assert table._memory is None
    assert table.save()._image is None


@pytest.mark.parametrize("count_contacts", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_whole_ways_are_the_same(scale: float, count_contacts: bool) -> None:
    arguments = {"scale": scale, "count_contacts": count_contacts}
    direct, plain = PushTPhysics(**arguments), PublicPhysics(**arguments)
    rng = np.random.default_rng(0)
    touched = 0
    for _ in range(25):
        state = random_state(rng)
        for physics in (direct, plain):
            physics.set_state(state, agent_velocity=(30.0, -40.0))
        for target in pushes(direct, rng, 40):
            before = direct.block_pose
            for physics in (direct, plain):
                physics.step(*target)
            assert same_bits(direct, plain)
            assert direct.contact_lines_px == plain.contact_lines_px
            if count_contacts:
                assert direct.n_contacts == plain.n_contacts
            touched += direct.block_pose != before
    assert touched > 100


@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_published_starts_are_the_same(protocol: str) -> None:
    direct, plain = PushTPhysics(), PublicPhysics()
    for seed in range(150):
        start = sample_start(protocol, np.random.default_rng(seed), seed)
        for physics in (direct, plain):
            physics.set_start(start)
        assert same_bits(direct, plain)
        for _ in range(4):
            for physics in (direct, plain):
                physics.step(*start[2:4].tolist())
            assert same_bits(direct, plain)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("scale", SCALES)
def test_each_opens_the_others_moments(scale: float, exact: bool, pickled: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        tables = [PushTPhysics(scale=scale, count_contacts=True), PublicPhysics(scale=scale, count_contacts=True)]
        state = random_state(rng)
        for physics in tables:
            (physics.set_state if exact else physics.set_start)(state)
        for target in pushes(tables[0], rng, 15):
            for physics in tables:
                physics.step(*target)
        moments: list[PhysicsState] = [physics.save() for physics in tables]
        if pickled:
            moments = [pickle.loads(pickle.dumps(moment)) for moment in moments]
        assert pickle.dumps(moments[0]) == pickle.dumps(moments[1])
        future = pushes(tables[0], rng, 20)
        for physics, moment in zip(tables, reversed(moments), strict=True):
            physics.step(0.0, 0.0)
            physics.restore(moment)
        for target in future:
            assert same_bits(*tables)
            assert tables[0].n_contacts == tables[1].n_contacts
            for physics in tables:
                physics.step(*target)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda physics: pickle.loads(pickle.dumps(physics))])
def test_copies_of_either_go_on_alike(duplicate: Callable) -> None:
    rng = np.random.default_rng(2)
    direct, plain = PushTPhysics(), PublicPhysics()
    for physics in (direct, plain):
        physics.set_start(np.array([250.0, 240.0, 256.0, 200.0, 1.0]))
    for target in pushes(direct, rng, 30):
        for physics in (direct, plain):
            physics.step(*target)
    twins = [duplicate(direct), duplicate(plain)]
    for target in pushes(direct, rng, 30):
        for physics in (direct, plain, *twins):
            physics.step(*target)
        assert all(same_bits(direct, other) for other in (plain, *twins))


def test_environments_of_both_paths_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through resets, drawn goals and scales, displacements and branches, with every number that is told."""
    rng = np.random.default_rng(3)
    actions = rng.uniform(50, 460, (6, 30, 2))
    told: list[list[object]] = []
    for direct in (True, False):
        if not direct:
            monkeypatch.setattr(engine, "available", lambda: False)
        env = PushTEnv(variations={"goal_pose": "random", "scale": "random"}, count_contacts=True)
        assert (env._world.physics._memory is not None) is (direct and engine.available())
        trace: list[object] = []
        for seed, pushes_ in enumerate(actions):
            trace.append(env.reset(seed=seed, options={"protocol": "diffusion_policy"} if seed % 2 else None))
            trace += [env.step(action) for action in pushes_[:10]]
            moment = env.get_state()
            trace += [env.step(action) for action in pushes_[10:]]
            trace.append(env.set_state(moment))
            env.displace([200.0, 205.0, 256.0, 230.0, 0.4])
            trace += [env.step(action) for action in pushes_[10:]]
        told.append(trace)
    assert pickle.dumps(told[0]) == pickle.dumps(told[1])
