"""The one place that reaches below pymunk's public interface, for speed; everything here has a public twin elsewhere.

Two things are gained. Stepping through the engine's own functions spares pymunk's bookkeeping around each sub-step:
ten sub-steps take half to two thirds of the time. And a copy of the engine's memory brings a world back to a saved moment in
microseconds: contacts, the search tree and the solver's memory of the last step have no public access, so the only other
exact way is to play all actions again. Where pymunk is of a version not listed here, `available` says so and callers
take the public ways, with the same results.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, Final

import cffi
import pymunk

try:
    from pymunk._chipmunk_cffi import ffi as _pymunk_ffi
    from pymunk._chipmunk_cffi import lib as _lib
except ImportError:  # a later pymunk may keep its engine elsewhere
    _pymunk_ffi = _lib = None

# The layout below was compared with the headers of each of these.
KNOWN_VERSIONS: Final = ("7.0.0", "7.0.1", "7.1.0", "7.3.0", "7.3.1")

_ffi = cffi.FFI()
_ffi.cdef(
    """
    typedef struct { double x, y; } Vector;
    typedef struct { int num, max; void **items; } Array;
    typedef struct {
        void *velocity_function, *position_function;
        double mass, inverse_mass, moment, inverse_moment;
        Vector centre;
        Vector position, velocity, force;
        double angle, spin, torque, transform[6];
        void *user_data;
        Vector bias_velocity;
        double bias_spin;
        void *space, *shapes, *arbiters;
    } Body;
    typedef struct {
        unsigned int entries, size;
        void *equal, *default_value;
        void **table;
        void *free_bins;
        Array *buffers;
    } HashSet;
    typedef struct {
        void *index_class, *box, *static_index, *dynamic_index;
        void *velocity_function, *leaves, *root, *free_nodes, *free_pairs;
        Array *buffers;
        unsigned int stamp;
    } Tree;
    typedef struct ContactBuffer { unsigned int stamp; struct ContactBuffer *next; unsigned int count; } ContactBuffer;
    typedef struct {
        int iterations;
        Vector gravity;
        double damping, idle_speed, sleep_time, slop, bias;
        unsigned int persistence;
        void *user_data;
        unsigned int stamp;
        double last_period;
        Array *dynamic_bodies, *static_bodies, *roused_bodies, *sleeping;
        uintptr_t next_shape_id;
        Tree *static_tree, *dynamic_tree;
        Array *constraints, *arbiters;
        ContactBuffer *contacts;
        HashSet *cached_arbiters;
        Array *free_arbiters, *buffers;
    } Space;
    """
)

# Sizes of what the engine keeps in pools of 32 KiB, bytes; it takes the first item, or the last ones, first.
_POOL_BYTES: Final = 32 * 1024
_NODE_BYTES: Final = 64
_PAIR_BYTES: Final = 56
_ARBITER_BYTES: Final = 184
_BIN_BYTES: Final = 24
_CONTACT_BYTES: Final = 96
# Agent, bar, stem and four walls touch in at most 14 pairs. `warm_up` makes as many, with fewer than 48 nodes: no more of
# a pool is ever touched.
_MOST_CONTACTS: Final = 14
_ITEMS_USED: Final = 48

Image = tuple[Any, ...]
Reading = tuple[float, float, float, float, float, float, float]


@functools.cache
def available() -> bool:
    """Tells whether this pymunk's engine is one whose layout is known, and whether it looks so."""
    return _lib is not None and pymunk.version in KNOWN_VERSIONS and sys.maxsize > 2**32 and _looks_as_expected()


def _looks_as_expected() -> bool:
    """Compares fields with what pymunk says of them, on a space of its own, before anything is ever written."""
    space, body = pymunk.Space(), pymunk.Body(2, 3)
    body.center_of_gravity, body.angle, body.angular_velocity = (4, 5), 6, 7
    space.gravity, space.damping = (8, 9), 0.5
    space.add(body, pymunk.Circle(body, 1))
    own, handle = _ffi.cast("Space *", _address(space._space)), _ffi.cast("Body *", _address(body._body))
    read = [own.iterations, own.gravity.x, own.gravity.y, own.damping, own.slop, own.bias, own.persistence]
    said = [space.iterations, *space.gravity, space.damping, space.collision_slop, space.collision_bias]
    read += [
        handle.mass,
        handle.moment,
        handle.centre.x,
        handle.centre.y,
        handle.angle,
        handle.spin,
        handle.inverse_mass,
    ]
    said += [space.collision_persistence, body.mass, body.moment, *body.center_of_gravity, body.angle, 7, 1 / body.mass]
    read += [_address(handle.space), _address(own.dynamic_bodies.items[0]), own.dynamic_bodies.num, own.next_shape_id]
    said += [_address(own), _address(handle), 1, 1]
    return read == said


def make_stepper(space: pymunk.Space, agent: pymunk.Body) -> Callable[[float, float, float], None]:
    """Returns a function that sets the agent's velocity (px/s) and advances the space by a period (s).

    It does what `agent.velocity = (vx, vy); space.step(period)` does, without pymunk's bookkeeping for spaces that change
    while they are stepped. It knows the engine's own objects only, so pymunk's must outlive it.
    """
    agent_handle, space_handle = agent._body, space._space
    set_velocity, advance = _lib.cpBodySetVelocity, _lib.cpSpaceStep
    # One vector for all calls; the item of an owning pointer keeps its memory alive.
    velocity = _pymunk_ffi.new("cpVect *")[0]

    def step(vx: float, vy: float, period_s: float) -> None:
        velocity.x, velocity.y = vx, vy
        set_velocity(agent_handle, velocity)
        advance(space_handle, period_s)

    return step


def make_reader(agent: pymunk.Body, block: pymunk.Body) -> Callable[[], Reading]:
    """Returns a function that reads agent x, y, its velocity, block x, y and angle, without pymunk's vectors."""
    agent_handle, block_handle = agent._body, block._body
    position, velocity, angle = _lib.cpBodyGetPosition, _lib.cpBodyGetVelocity, _lib.cpBodyGetAngle

    def read() -> Reading:
        at, moves, lies = position(agent_handle), velocity(agent_handle), position(block_handle)
        return at.x, at.y, moves.x, moves.y, lies.x, lies.y, angle(block_handle)

    return read


class EngineMemory:
    """What a space remembers, as bytes: taken and put back, into this same space.

    Only memory that steps change is copied, about 20 kB. The addresses in it stay right since `warm_up` made the engine
    allocate beforehand what a step may ask for; where it allocated more since, `restore` refuses.
    """

    def __init__(self, space: pymunk.Space, *bodies: pymunk.Body) -> None:
        self._space = _ffi.cast("Space *", _address(space._space))
        handles = [_ffi.cast("Body *", _address(body._body)) for body in (*bodies, space.static_body)]
        start, end = _ffi.offsetof("Body", "position"), _ffi.offsetof("Body", "arbiters") + _ffi.sizeof("void *")
        self._fixed = [(_ffi.cast("char *", body) + start, end - start) for body in handles]
        start, end = _ffi.offsetof("Space", "stamp"), _ffi.sizeof("Space")
        self._fixed.append((_ffi.cast("char *", self._space) + start, end - start))
        tree = self._space.dynamic_tree
        start, end = _ffi.offsetof("Tree", "root"), _ffi.sizeof("Tree")
        self._fixed.append((_ffi.cast("char *", tree) + start, end - start))
        arbiters = self._space.cached_arbiters
        self._fixed.append((_ffi.cast("char *", arbiters), _ffi.sizeof("HashSet")))
        self._fixed.append((_ffi.cast("char *", arbiters.table), arbiters.size * _ffi.sizeof("void *")))
        pools = [(self._space.static_tree.buffers.items[0], _NODE_BYTES), (arbiters.buffers.items[0], _BIN_BYTES)]
        pools += zip(tree.buffers.items[0 : tree.buffers.num], (_NODE_BYTES, _PAIR_BYTES), strict=True)
        self._contacts = self._contact_buffers()
        ring = {_address(buffer) for buffer in self._contacts}
        others = [item for item in self._space.buffers.items[0 : self._space.buffers.num] if _address(item) not in ring]
        pools += [(item, _ARBITER_BYTES) for item in others]
        for buffer, item_bytes in pools:
            first = _ffi.cast("char *", buffer)
            used, count = _ITEMS_USED * item_bytes, _POOL_BYTES // item_bytes
            self._fixed += [(first, item_bytes), (first + count * item_bytes - used, used)]
        self._allocated = self._count_allocations()

    def save(self) -> Image | None:
        """Returns the memory as it is, or None where the engine allocated more than was foreseen."""
        if self._count_allocations() != self._allocated:
            return None
        space, header = self._space, _ffi.sizeof("ContactBuffer")
        return (
            self,
            [_ffi.buffer(place, size)[:] for place, size in self._fixed],
            [_ffi.buffer(buffer, header + buffer.count * _CONTACT_BYTES)[:] for buffer in self._contacts],
            [_ffi.buffer(array.items, array.num * 8)[:] for array in (space.arbiters, space.free_arbiters)],
        )

    def restore(self, image: Image | None) -> bool:
        """Puts saved memory back; tells whether it could, which it can when the image is of this very memory."""
        if image is None or image[0] is not self or self._count_allocations() != self._allocated:
            return False
        _, fixed, contacts, arrays = image
        copy = _ffi.memmove
        for (place, size), content in zip(self._fixed, fixed, strict=True):
            copy(place, content, size)
        for buffer, content in zip(self._contacts, contacts, strict=True):
            copy(buffer, content, len(content))
        # The engine may have moved these lists to grow them, so their contents are put back, not their addresses.
        for array, content in zip((self._space.arbiters, self._space.free_arbiters), arrays, strict=True):
            array.num = len(content) // 8
            copy(array.items, content, len(content))
        return True

    def _contact_buffers(self) -> list[Any]:
        """Returns the ring of buffers that contacts of the last sub-steps lie in."""
        first = buffer = self._space.contacts
        buffers = []
        while buffer:
            buffers.append(buffer)
            buffer = buffer.next
            if buffer == first:
                break
        return buffers

    def _count_allocations(self) -> tuple[int, ...]:
        space = self._space
        trees = space.dynamic_tree.buffers.num, space.static_tree.buffers.num
        arbiters = space.cached_arbiters
        return space.buffers.num, *trees, arbiters.size, arbiters.buffers.num


def warm_up(space: pymunk.Space) -> None:
    """Makes an empty space allocate what contacts will ask for, and leaves no other trace.

    A body that overlaps as many others as can ever touch is stepped until the ring of contact buffers is full; then all are
    taken out. Shapes added afterwards get the same numbers as in a new space: the order in which the engine visits them
    depends on these.
    """
    own = _ffi.cast("Space *", _address(space._space))
    next_shape_id = own.next_shape_id
    body = pymunk.Body(1, 1)
    # Among the fixed bodies, since the engine sorts moving shapes by the size that their table has grown to.
    circles = [pymunk.Circle(space.static_body, 1) for _ in range(_MOST_CONTACTS)]
    space.add(body, pymunk.Circle(body, 1), *circles)
    for _ in range(own.persistence + 4):
        body.position, body.velocity = (0, 0), (0, 0)
        space.step(0.01)
    space.remove(*circles, *body.shapes, body)
    own.next_shape_id, own.last_period = next_shape_id, 0.0


def _address(handle: Any) -> int:
    return int(_ffi.cast("uintptr_t", handle))
