"""A pinhole camera that looks at a product: where a point of the world lands in the picture, and back."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.mesh import Mesh, rotation


@dataclass(frozen=True)
class Camera:
    """`turn` [3, 3] takes world directions to (right, up, away); the camera stands `distance` before `target`.

    Pictures are square, `side` pixels; `focal` in pixels; the target lands on `centre` (x, y down).
    """

    turn: Floats
    target: Floats
    distance: float
    focal: float
    centre: tuple[float, float]
    side: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """[n, 3] -> pixels [n, 2] (x right, y down) and the distance along the view [n]."""
        seen = (points - self.target) @ self.turn.T
        away = seen[:, 2] + self.distance
        scale = self.focal / np.maximum(away, 0.05)
        pixels = np.stack([self.centre[0] + seen[:, 0] * scale, self.centre[1] - seen[:, 1] * scale], axis=1)
        return pixels.astype(np.float32), away.astype(np.float32)

    @property
    def eye(self) -> Floats:
        """Where the camera stands [3]."""
        return floats(self.target - self.turn[2] * self.distance)

    def rays(self, side: int) -> Floats:
        """Directions [side, side, 3] (not of length 1) through the pixels of a picture of this side."""
        at = (np.arange(side, dtype=np.float32) + 0.5) * (self.side / side)
        x, y = np.meshgrid((at - self.centre[0]) / self.focal, (self.centre[1] - at) / self.focal)
        return floats(np.stack([x, y, np.ones_like(x)], axis=-1) @ self.turn)


def frame(
    mesh: Mesh,
    *,
    side: int,
    yaw: float,
    pitch: float,
    roll: float = 0.0,
    fill: float = 0.75,
    shift: tuple[float, float] = (0.0, 0.0),
    distance: float = 4.0,
) -> Camera:
    """A camera that has all of a product in the picture.

    Angles in degrees: yaw about the product, pitch down on it, roll about the line of sight. `fill`: the share of the
    side that the product's longer extent takes. `shift`: how far off the middle it stands, in shares of the side.
    """
    turn = rotation("z", -roll) @ looking(yaw, pitch)
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    target = ((low + high) / 2).astype(np.float32)
    reach = distance * float(np.linalg.norm(high - low))
    trial = Camera(turn, target, reach, 1.0, (0.0, 0.0), side)
    pixels, _ = trial.project(mesh.points)
    left_top, right_bottom = pixels.min(axis=0), pixels.max(axis=0)
    focal = fill * side / float((right_bottom - left_top).max())
    middle = (left_top + right_bottom) / 2 * focal
    centre = (side * (0.5 + shift[0]) - float(middle[0]), side * (0.5 + shift[1]) - float(middle[1]))
    return Camera(turn, target, reach, focal, centre, side)


def looking(yaw: float, pitch: float) -> Floats:
    """The turn [3, 3] of world directions to (right, up, away) for a camera at this yaw, tilted down by pitch."""
    to_view = floats([[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    return floats(rotation("x", -pitch) @ to_view @ rotation("z", yaw))
