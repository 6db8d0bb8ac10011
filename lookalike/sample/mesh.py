"""Shapes as triangles with smooth normals: the clay that every product of the sample is made of.

Coordinates are right-handed: x to the right, y away from the viewer, z up; the ground is z = 0. Nearly everything is a
grid of points bent into form (a lathe, a tube, a loft), so one function makes the triangles and normals of all of them.
Every solid is closed: the renderer leaves out what faces away.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lookalike.sample.arrays import Floats, Ints, floats, unit


@dataclass(frozen=True)
class Mesh:
    """Triangles of one or more solids.

    points and normals [n, 3], uv [n, 2] in the same units as points, triangles [m, 3] counter-clockwise from outside,
    finish [m] the number of the finish (what it is made of), lift [m] how far a triangle comes forward when painted
    (what lies on a surface must win against it). `inlay` [n] cuts smooth shapes into a surface: wherever it is above
    zero, between points too, the finish is `inlaid` [m].
    """

    points: Floats
    normals: Floats
    uv: Floats
    triangles: Ints
    finish: Ints
    lift: Floats
    inlay: Floats
    inlaid: Ints

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Mesh":
        return replace(self, points=self.points + floats([x, y, z]))

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Mesh":
        """Stretched along the axes; a mirror image (one negative factor) keeps its outside outside."""
        factors = floats([x, y, z])
        normals = unit(self.normals / factors)
        triangles = self.triangles[:, ::-1] if np.prod(factors) < 0 else self.triangles
        return replace(self, points=self.points * factors, normals=normals, triangles=triangles)

    def turned(self, axis: str, degrees: float) -> "Mesh":
        """Turned about the x, y or z axis through the origin."""
        turn = rotation(axis, degrees)
        return replace(self, points=self.points @ turn.T, normals=self.normals @ turn.T)

    def lifted(self, by: float) -> "Mesh":
        return replace(self, lift=self.lift + floats(by))

    def mapped(self, uv: Floats) -> "Mesh":
        """With other texture coordinates [n, 2]."""
        return replace(self, uv=uv.astype(np.float32))

    def mapped_upright(self) -> "Mesh":
        """With the height as v, so that patterns lie level however the surface bulges."""
        return self.mapped(np.stack([self.uv[:, 0], self.points[:, 2]], axis=1))

    def inlaid_with(self, finish: int, inlay: Floats) -> "Mesh":
        """With another finish where `inlay` [n], a signed distance of some kind, is above zero."""
        return replace(self, inlay=inlay.astype(np.float32), inlaid=np.full(len(self.triangles), finish, np.int32))

    def sheared(self, x_by_z: float = 0.0, y_by_z: float = 0.0) -> "Mesh":
        """Leaning: x and y grow with height. Normals are kept, which small leans do not show."""
        lean = np.outer(self.points[:, 2], [x_by_z, y_by_z, 0.0])
        return replace(self, points=(self.points + lean).astype(np.float32))


def join(meshes: Iterable[Mesh]) -> Mesh:
    """Several meshes as one."""
    parts = list(meshes)
    starts = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    return Mesh(
        points=np.concatenate([part.points for part in parts]),
        normals=np.concatenate([part.normals for part in parts]),
        uv=np.concatenate([part.uv for part in parts]),
        triangles=np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=True)]),
        finish=np.concatenate([part.finish for part in parts]),
        lift=np.concatenate([part.lift for part in parts]),
        inlay=np.concatenate([part.inlay for part in parts]),
        inlaid=np.concatenate([part.inlaid for part in parts]),
    )


def rotation(axis: str, degrees: float) -> Floats:
    """The matrix [3, 3] that turns about a main axis, counter-clockwise seen from its tip."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3, dtype=np.float32)
    turn[first, first] = turn[second, second] = cos
    turn[first, second], turn[second, first] = -sin, sin
    return turn


def grid(points: ArrayLike, finish: int = 0, *, ring: bool = True, caps: bool = True) -> Mesh:
    """[rows, columns, 3] -> a mesh over the grid; `ring` joins the last column to the first, `caps` closes the ends.

    Seen from outside, columns run counter-clockwise about the direction in which the rows go. uv is the arc length
    along columns and rows.
    """
    lattice = floats(points)
    if ring:
        lattice = np.concatenate([lattice, lattice[:, :1]], axis=1)
    rows, columns, _ = lattice.shape
    along = np.gradient(lattice, axis=0)
    if ring:
        wrapped = np.concatenate([lattice[:, -2:-1], lattice, lattice[:, 1:2]], axis=1)
        across = wrapped[:, 2:] - wrapped[:, :-2]
    else:
        across = np.gradient(lattice, axis=1)
    normals = unit(np.cross(across, along))
    normals = _mend_poles(normals, lattice)
    corner = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    mesh = _plain(
        lattice.reshape(-1, 3), normals.reshape(-1, 3), _arc_lengths(lattice).reshape(-1, 2), triangles, finish
    )
    if ring and caps:
        ends = (lattice[0, :-1][::-1], lattice[-1, :-1])
        mesh = join([mesh, *(_cap(end, finish) for end in ends if np.ptp(end, axis=0).max() > 1e-6)])
    return mesh


def _plain(points: Floats, normals: Floats, uv: Floats, triangles: Ints, finish: int) -> Mesh:
    """A mesh of one finish."""
    count = len(triangles)
    return Mesh(
        points=points,
        normals=normals,
        uv=uv,
        triangles=triangles,
        finish=np.full(count, finish, np.int32),
        lift=np.zeros(count, np.float32),
        inlay=np.full(len(points), -1, np.float32),
        inlaid=np.full(count, finish, np.int32),
    )


def _mend_poles(normals: Floats, lattice: Floats) -> Floats:
    """Rows shrunk to a point have no direction of their own: they take the mean of their neighbours'.

    On a cylinder that mean is nothing, hence the nudge outwards.
    """
    middle = lattice.mean(axis=(0, 1))
    for pole in np.flatnonzero(np.ptp(lattice, axis=1).max(axis=1) < 1e-6):
        neighbour = pole - 1 if pole else 1
        normals[pole] = unit(normals[neighbour].mean(axis=0) + 1e-3 * unit(lattice[pole, 0] - middle))
    return normals


def _arc_lengths(lattice: Floats) -> Floats:
    """uv [rows, columns, 2]: the way along the columns (of the widest row) and along the rows (their mean)."""
    across = np.linalg.norm(np.diff(lattice, axis=1), axis=2)
    along = np.linalg.norm(np.diff(lattice, axis=0), axis=2).mean(axis=1)
    u = np.concatenate([[0.0], np.cumsum(across[across.sum(axis=1).argmax()])])
    v = np.concatenate([[0.0], np.cumsum(along)])
    return np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1).astype(np.float32)


def _cap(outline: Floats, finish: int) -> Mesh:
    """A flat lid on an outline [n, 3], seen from the side where it runs counter-clockwise."""
    centre = outline.mean(axis=0)
    points = np.concatenate([[centre], outline]).astype(np.float32)
    nxt = np.roll(np.arange(len(outline)), -1)
    normal = unit(np.cross(outline - centre, outline[nxt] - centre).sum(axis=0))
    triangles = np.stack([np.zeros(len(outline), int), np.arange(len(outline)) + 1, nxt + 1], axis=1)
    flat = np.argsort(np.abs(normal))[:2]  # drop the axis that the lid faces
    return _plain(
        points,
        np.repeat(normal[None], len(points), axis=0),
        points[:, np.sort(flat)],
        triangles.astype(np.int32),
        finish,
    )


def circle(count: int = 36, power: float = 2.0) -> Floats:
    """[count, 2] on the unit circle, or on a squarer super-ellipse for a power above 2, evenly spaced."""
    angle = np.linspace(0, 2 * np.pi, 40 * count + 1)
    shape = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shape = np.sign(shape) * np.abs(shape) ** (2.0 / power)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(shape, axis=0), axis=1))])
    even = np.linspace(0, way[-1], count, endpoint=False)
    return np.stack([np.interp(even, way, shape[:, 0]), np.interp(even, way, shape[:, 1])], axis=1).astype(np.float32)


def rounded_rectangle(width: float, depth: float, radius: float, arc: int = 5, side: int = 4) -> Floats:
    """[n, 2] counter-clockwise about the origin; sides are divided so that shading and patterns can follow them."""
    radius = min(radius, width / 2 - 1e-4, depth / 2 - 1e-4)
    corners = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angle = np.linspace(0, np.pi / 2, arc) + quarter * np.pi / 2
        corner = [sx * (width / 2 - radius), sy * (depth / 2 - radius)]
        corners.append(np.stack([np.cos(angle), np.sin(angle)], 1) * radius + corner)
    points: list[NDArray[np.float64]] = []
    for here, there in zip(corners, [*corners[1:], corners[0]], strict=True):
        points.extend(here)
        points.extend(here[-1] + (there[0] - here[-1]) * t for t in np.linspace(0, 1, side + 1)[1:-1])
    return floats(points)


def smooth(keys: ArrayLike, count: int) -> Floats:
    """A Catmull-Rom curve through keys [k, d] -> [count, d], evenly spread over the keys."""
    knots = np.asarray(keys, dtype=np.float64)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    at = np.linspace(0, len(knots) - 1, count)
    index = np.minimum(at.astype(int), len(knots) - 2)
    t = (at - index)[:, None]
    p0, p1, p2, p3 = (padded[index + k] for k in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)
    return floats(curve)


def bevelled(profile: ArrayLike, bevel: float) -> Floats:
    """A polyline [k, 2] whose inner corners are cut by two points at most `bevel` away: edges then catch the light."""
    keys = np.asarray(profile, dtype=np.float64)
    points = [keys[0]]
    for before, here, after in zip(keys, keys[1:], keys[2:], strict=False):
        for other in (before, after):
            way = other - here
            length = max(float(np.linalg.norm(way)), 1e-9)
            points.append(here + way * min(bevel / length, 0.4))
    points.append(keys[-1])
    return floats(points)


def lathe(
    profile: ArrayLike, finish: int = 0, *, segments: int = 36, power: float = 2.0, ribs: int = 0, caps: bool = True
) -> Mesh:
    """A profile [k, 2] of (radius, height) going up on the outside, turned about the z axis.

    `power` above 2 makes it squarish, `ribs` gives it that many flutes (pleats).
    """
    keys = floats(profile)
    outline = circle(segments if not ribs else ribs * 4, power)
    if ribs:
        outline *= floats(1 + 0.035 * np.cos(np.arange(ribs * 4) * np.pi / 2))[:, None]
    lattice = np.empty((len(keys), len(outline), 3), np.float32)
    lattice[..., :2] = keys[:, None, :1] * outline
    lattice[..., 2] = keys[:, 1:]
    return grid(lattice, finish, caps=caps)


def tube(path: ArrayLike, radius: ArrayLike, finish: int = 0, *, segments: int = 10, flat: float = 1.0) -> Mesh:
    """A round bar along a path [k, 3]; `radius` one number or one for each point; `flat` squashes it sideways.

    The frame is carried along by parallel transport, so the bar does not twist.
    """
    line = np.asarray(path, dtype=np.float64)
    forward = unit(np.gradient(line, axis=0).astype(np.float32)).astype(np.float64)
    side = np.cross(forward[0], [0.0, 0.0, 1.0] if abs(forward[0, 2]) < 0.9 else [0.0, 1.0, 0.0])
    ring = circle(segments) * floats([1.0, flat])
    widths = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(line))
    lattice = np.empty((len(line), segments, 3), np.float32)
    for row, (point, ahead, width) in enumerate(zip(line, forward, widths, strict=True)):
        side = side - ahead * (side @ ahead)
        side /= max(float(np.linalg.norm(side)), 1e-9)
        lattice[row] = point + width * (ring[:, :1] * side + ring[:, 1:] * np.cross(ahead, side))
    return grid(lattice, finish)


def bar(start: ArrayLike, end: ArrayLike, radius: ArrayLike, finish: int = 0, *, segments: int = 10) -> Mesh:
    """A straight round bar, tapering from the first to the last radius when two are given."""
    ends = np.asarray([start, end], dtype=np.float64)
    steps = np.linspace(0, 1, 4)
    path = ends[0] + (ends[1] - ends[0]) * steps[:, None]
    return tube(path, np.interp(steps, np.linspace(0, 1, np.size(radius)), np.ravel(radius)), finish, segments=segments)


def prism(outline: ArrayLike, height: float, finish: int = 0, *, bevel: float = 0.01, taper: float = 1.0) -> Mesh:
    """An outline [n, 2] raised from z = 0 to `height`, edges bevelled, its top `taper` times as wide.

    Its lids are divided, so that patterns and light can vary on them; uv there is (x, y).
    """
    shape = floats(outline)
    reach = np.abs(shape).max()
    inset = 1 - min(bevel / reach, 0.5)
    bevel = min(bevel, height / 2)
    rows = [(inset, 0.0), (1.0, bevel), (1 + (taper - 1) * 0.5, height / 2), (taper, height - bevel)]
    rows += [(taper * inset, height)]
    lattice = np.empty((len(rows), len(shape), 3), np.float32)
    for row, (width, level) in enumerate(rows):
        lattice[row, :, :2] = shape * width
        lattice[row, :, 2] = level
    side = grid(lattice, finish, caps=False)
    return join([side, _lid(lattice[-1], finish), _lid(lattice[0][::-1], finish)])


def _lid(outline: Floats, finish: int) -> Mesh:
    """A flat lid of three rings."""
    centre = outline.mean(axis=0)
    rows = np.stack([outline + (centre - outline) * t for t in (0.0, 0.33, 0.66, 1.0)])
    mesh = grid(rows, finish, caps=False)
    up = np.sign(np.cross(outline - centre, np.roll(outline, -1, 0) - centre).sum(axis=0)[2])
    flat = np.tile(floats([0, 0, up]), (len(mesh.points), 1))
    return replace(mesh, normals=flat, uv=mesh.points[:, :2].copy())


def box(width: float, depth: float, height: float, finish: int = 0, *, bevel: float = 0.01) -> Mesh:
    """A box with rounded edges standing on z = 0, centred in x and y."""
    return prism(rounded_rectangle(width, depth, bevel * 1.5, arc=3), height, finish, bevel=bevel)


def cushion(
    width: float, depth: float, height: float, finish: int = 0, *, power: float = 4.0, fine: bool = True
) -> Mesh:
    """A soft block (a super-ellipsoid) centred on the origin; not `fine` for small parts."""
    rows, columns = (13, 40) if fine else (7, 16)
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows)
    ring, rise = np.cos(angle), np.sin(angle)
    ring, rise = np.abs(ring) ** (2 / power), np.sign(rise) * np.abs(rise) ** (2 / min(power, 3.0))
    lattice = np.empty((rows, columns, 3), np.float32)
    lattice[..., :2] = ring[:, None, None] * circle(columns, power) * floats([width / 2, depth / 2])
    lattice[..., 2] = (rise * height / 2)[:, None]
    lattice[0, :, :2] = lattice[-1, :, :2] = 0.0
    mesh = grid(lattice, finish, caps=False)
    flat = np.abs(mesh.normals[:, 2:]) > 0.6
    return mesh.mapped(np.where(flat, mesh.points[:, :2], mesh.uv))
