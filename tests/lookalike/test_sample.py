"""The sample: the same products for the same seed, whole solids, true pictures, an honest table."""

import csv
from collections import Counter
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike.sample import catalogue, render, scene
from lookalike.sample.arrays import Floats, Ints, floats
from lookalike.sample.camera import frame
from lookalike.sample.catalogue import Item
from lookalike.sample.draw import draw_item, draw_sample
from lookalike.sample.families import FAMILIES
from lookalike.sample.family import Family, Model
from lookalike.sample.materials import MATERIALS
from lookalike.sample.mesh import Mesh, circle, cushion, join, lathe, prism, rotation, rounded_rectangle, tube
from lookalike.sample.palette import COLOURS, Finish
from lookalike.sample.patterns import PATTERNS, draw
from lookalike.sample.raster import rasterise
from lookalike.sample.shading import Light


@pytest.fixture(scope="module")
def products() -> list[Item]:
    return catalogue.items(0)


@pytest.fixture(scope="module")
def few(products: list[Item]) -> list[Item]:
    """The first product of every family."""
    return [next(item for item in products if item.family == number) for number in range(len(FAMILIES))]


# what there is


def test_some_three_hundred_products_in_at_least_six_families(products: list[Item]) -> None:
    families = Counter(item.category for item in products)
    assert 290 <= len(products) <= 330
    assert len(families) >= 6
    assert min(families.values()) >= 20
    assert len({item.product_id for item in products}) == len(products)


def test_a_seed_gives_the_same_products_and_another_seed_others(products: list[Item]) -> None:
    assert catalogue.items(0) == products
    assert [item.title for item in catalogue.items(1)] != [item.title for item in products]


def test_no_two_products_are_the_same_thing_but_most_have_a_look_alike(products: list[Item]) -> None:
    things = Counter((item.family, item.shape, item.look) for item in products)
    assert set(things.values()) == {1}
    shapes = Counter((item.family, item.shape) for item in products)
    assert sum(count for count in shapes.values() if count > 1) / len(products) > 0.6


def test_every_product_tells_what_a_shopper_filters_by(products: list[Item]) -> None:
    for item in products:
        assert item.look.colour in COLOURS
        assert item.look.pattern in PATTERNS
        assert item.look.material and item.style
        assert 1 < item.price < 1000
        assert item.look.colour.lower() in item.title
    assert len({item.look.pattern for item in products}) >= 8
    assert len({item.style for item in products}) >= 5


def test_the_table_has_a_row_for_every_photo_and_facets_that_do_not_vary_within_a_product(few: list[Item]) -> None:
    rows = list(csv.DictReader(StringIO(catalogue.table_text(few))))
    assert tuple(rows[0]) == catalogue.COLUMNS
    assert len({row["image"] for row in rows}) == len(rows) == len(few) * catalogue.PHOTOS
    for item in few:
        own = [row for row in rows if row["product_id"] == item.product_id]
        assert Counter(row["split"] for row in own) == {"catalogue": 1, "train": 7, "val": 2}
        assert [row["kind"] for row in own if row["split"] == "catalogue"] == ["studio"]
        for name in ("title", "category", "colour", "material", "pattern", "style", "price"):
            assert len({row[name] for row in own}) == 1
            assert own[0][name]


# solids


def family_models(family: Family, count: int) -> list[Model]:
    models = []
    for number in range(count):
        rng = np.random.default_rng([number, 5])
        drafted = family.draft(rng)
        models.append(family.model(drafted.shape, family.dress(drafted.shape, rng)))
    return models


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.category)
def test_every_model_stands_on_the_ground_and_its_outside_is_outside(family: Family) -> None:
    for model in family_models(family, 12):
        mesh = model.mesh
        for values in (mesh.points, mesh.normals, mesh.uv, mesh.inlay, mesh.lift):
            assert np.isfinite(values).all()
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
        assert abs(float(mesh.points[:, 2].min())) < 0.05
        assert mesh.triangles.max() < len(mesh.points)
        assert max(mesh.finish.max(), mesh.inlaid.max()) < len(model.finishes)
        # a triangle's own direction agrees with the normals at its corners, weighed by its size
        corner = mesh.points[mesh.triangles]
        own = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        agrees = (own * mesh.normals[mesh.triangles].mean(axis=1)).sum(axis=1) >= 0
        sizes = np.linalg.norm(own, axis=1)
        assert sizes[agrees].sum() / sizes.sum() > 0.95


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (prism(rounded_rectangle(1, 2, 0.001), 3, bevel=0.0), 6.0),
        (lathe([(0, 0), (1, 0), (1, 2), (0, 2)], segments=200), 2 * np.pi),
        (cushion(2, 2, 2, power=2.0), 4 / 3 * np.pi),
        (tube([(0, 0, z) for z in range(5)], 0.5, segments=100), np.pi),
        (tube([(0, 0, z) for z in range(5)], 0.5, segments=100).scaled(x=-1), np.pi),
    ],
)
def test_solids_are_closed_and_hold_the_volume_they_should(mesh: Mesh, volume: float) -> None:
    """The divergence theorem: a closed surface's signed volume, positive when its outside is outside."""
    a, b, c = (mesh.points[mesh.triangles[:, corner]].astype(np.float64) for corner in range(3))
    assert float((a * np.cross(b, c)).sum() / 6) == pytest.approx(volume, rel=0.05)


def test_a_closed_circle_is_evenly_spaced_however_square_it_is() -> None:
    for power in (2.0, 5.0):
        steps = np.linalg.norm(np.diff(circle(64, power), axis=0), axis=1)
        assert steps.max() / steps.min() < 1.1


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_turning_keeps_lengths_and_turns_back(axis: str) -> None:
    turn = rotation(axis, 33)
    assert np.allclose(turn @ rotation(axis, -33), np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_joined_meshes_keep_their_triangles_apart() -> None:
    one, two = cushion(1, 1, 1, 0), cushion(1, 1, 1, 3).moved(x=5)
    both = join([one, two])
    assert both.points[both.triangles[both.finish == 3]][..., 0].min() > 4


# pictures


def slow_raster(pixels: Floats, away: Floats, triangles: Ints, side: int) -> Floats:
    """Every pixel against every triangle, in double precision: how far away the nearest is (inf: none)."""
    nearest = np.full((side, side), np.inf)
    for corners in triangles:
        (ax, ay), (bx, by), (cx, cy) = pixels[corners].astype(float)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:
            continue
        for row in range(side):
            for column in range(side):
                x, y = column + 0.5, row + 0.5
                b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if min(b, c, 1 - b - c) >= 0:
                    far = away[corners] @ [1 - b - c, b, c]
                    nearest[row, column] = min(nearest[row, column], far)
    return floats(nearest)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_rasteriser_shows_what_comparing_every_pixel_with_every_triangle_shows(seed: int) -> None:
    rng, side = np.random.default_rng(seed), 12
    pixels = floats(rng.uniform(-3, side + 3, (9, 2)))
    away = floats(rng.uniform(1, 5, 9))
    triangles = rng.permuted(np.tile(np.arange(9, dtype=np.int32), (5, 1)), axis=1)[:, :3]
    nearest = slow_raster(pixels, away, triangles, side).ravel()
    seen = rasterise(pixels, away, triangles, side)
    far = np.full(side * side, np.inf, np.float32)
    far[seen.place] = seen.away
    covered = np.isfinite(far) == np.isfinite(nearest)
    assert covered.mean() > 0.985  # a pixel whose centre lies on an edge may fall to either side
    both = np.isfinite(far) & np.isfinite(nearest)
    assert np.isclose(far[both], nearest[both], atol=1e-3).mean() > 0.985 if both.any() else True
    shares = np.stack([1 - seen.b - seen.c, seen.b, seen.c], axis=1)
    assert shares.min(initial=0) > -1e-3
    corners = triangles[seen.triangle]
    assert np.allclose((away[corners] * shares).sum(axis=1), seen.away, atol=1e-3)
    x_y = (pixels[corners] * shares[..., None]).sum(axis=1)
    assert np.allclose(x_y, np.stack([seen.place % side, seen.place // side], axis=1) + 0.5, atol=1e-3)


def test_neighbouring_triangles_leave_no_gap_and_share_no_pixel() -> None:
    pixels = floats([[1, 1], [30.5, 2], [29, 31.2], [0.3, 28]])
    triangles = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    both = rasterise(pixels, np.ones(4, np.float32), triangles, 32)
    apart = [rasterise(pixels, np.ones(4, np.float32), triangles[[number]], 32).place for number in (0, 1)]
    assert not set(apart[0]) & set(apart[1])
    assert set(both.place) == set(apart[0]) | set(apart[1])
    for row in range(3, 27):
        columns = np.sort(both.place[both.place // 32 == row])
        assert all(there - here == 1 for here, there in pairwise(columns.tolist()))


@settings(max_examples=30, deadline=None)
@given(
    yaw=st.floats(-180, 180),
    pitch=st.floats(-10, 80),
    roll=st.floats(-20, 20),
    fill=st.floats(0.2, 0.95),
)
def test_the_camera_frames_a_product_as_large_as_it_is_told(yaw: float, pitch: float, roll: float, fill: float) -> None:
    mesh = cushion(0.5, 1.0, 1.5).moved(3, -2, 7)
    camera = frame(mesh, side=100, yaw=yaw, pitch=pitch, roll=roll, fill=fill)
    pixels, away = camera.project(mesh.points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (high - low).max() == pytest.approx(100 * fill, rel=0.01)
    assert (low + high) / 2 == pytest.approx([50, 50], abs=0.6)
    assert away.min() > 0


def test_rays_go_through_the_pixels_that_points_are_projected_to() -> None:
    mesh = cushion(1, 1, 1).moved(z=0.5)
    camera = frame(mesh, side=64, yaw=30, pitch=20, roll=5, fill=0.6)
    ray = camera.rays(64)[20, 41]
    pixels, _ = camera.project((camera.eye + ray * 7)[None])
    assert pixels[0] == pytest.approx([41.5, 20.5], abs=0.01)


def test_what_lies_inside_is_less_open_than_what_lies_outside() -> None:
    cup = lathe([(0, 0), (1, 0), (1, 2), (0.9, 2), (0.9, 0.1), (0, 0.1)], segments=40, caps=False)
    openness = render.occlusion(cup)
    inside = (np.hypot(cup.points[:, 0], cup.points[:, 1]) < 0.5) & (cup.points[:, 2] > 0.05)
    rim = cup.points[:, 2] > 1.9
    assert ((openness >= 0) & (openness <= 1)).all()
    assert openness[inside].mean() < 0.5 < openness[rim].mean()


def test_an_inlay_shows_where_it_is_above_zero_and_only_there() -> None:
    ball = cushion(1, 1, 1, power=2.0).moved(z=0.5)
    two = ball.inlaid_with(1, ball.points[:, 2] - 0.5)
    finishes = (Finish("rubber", (0.8, 0.0, 0.0)), Finish("rubber", (0.0, 0.0, 0.8)))
    camera = frame(two, side=64, yaw=0, pitch=0, fill=0.9)
    model = Model(two, finishes)
    pixels = np.asarray(render.picture(model, np.ones(len(two.points), np.float32), camera, Light(), 32))
    assert pixels.shape == (32, 32, 4)
    assert pixels[6, 16, 2] > pixels[6, 16, 0]
    assert pixels[26, 16, 0] > pixels[26, 16, 2]
    assert pixels[0, 0, 3] == 0


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(PATTERNS)),
    scale=st.floats(0.05, 1),
    turn=st.floats(0, 360),
    seed=st.integers(0, 1000),
)
def test_patterns_are_shares_everywhere(name: str, scale: float, turn: float, seed: int) -> None:
    u, v = floats(np.random.default_rng(seed).uniform(-4, 4, (2, 200)))
    share = draw(name, u, v, scale, turn)
    assert share.dtype == np.float32
    assert ((share >= 0) & (share <= 1)).all()


def test_grain_brightens_and_darkens_but_never_turns_light_negative() -> None:
    u, v = floats(np.random.default_rng(3).uniform(-4, 4, (2, 5000)))
    for material in MATERIALS.values():
        grain = material.grain(u, v)
        assert 0.5 < grain.min() <= grain.max() < 1.5


# photos


def test_the_folder_is_whole_and_no_photo_depends_on_the_process_or_the_order(few: list[Item], tmp_path: Path) -> None:
    drawn = draw_sample(tmp_path, products=few[2:4], processes=2)
    assert (drawn.products, drawn.photos) == (2, 20)
    rows = list(csv.DictReader(StringIO((tmp_path / "photos.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 20
    for row in rows:
        path = tmp_path / "images" / row["image"]
        assert path.stat().st_size < 60_000
        with Image.open(path) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (256, 256))
    again = few[3]
    (tmp_path / "again" / again.category.lower()).mkdir(parents=True)
    assert draw_item(again, tmp_path / "again", 0) == catalogue.PHOTOS
    for path in (tmp_path / "again").rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "images" / path.relative_to(tmp_path / "again")).read_bytes()


def photo_of(item: Item, number: int) -> Floats:
    model = FAMILIES[item.family].model(item.shape, item.look)
    openness = np.ones(len(model.mesh.points), np.float32)
    shot = catalogue.shots(item)[number]
    return floats(scene.photograph(model, openness, shot.setting, catalogue.generator(item, number, 0)))


def test_catalogue_photos_are_near_white_around_the_product_and_others_are_not(few: list[Item]) -> None:
    for item in few[:4]:
        studio, elsewhere = photo_of(item, 0), photo_of(item, 5)
        assert studio[[0, 0], [0, -1]].min() > 215
        assert studio[60:200, 60:200].min() < 190
        assert elsewhere[[0, 0, -1, -1], [0, -1, 0, -1]].mean() < 215


def test_a_products_own_catalogue_photo_differs_from_every_look_alikes(products: list[Item]) -> None:
    shapes = Counter((item.family, item.shape) for item in products)
    shape = next(shape for shape, count in shapes.items() if count >= 3)
    alike = [item for item in products if (item.family, item.shape) == shape]
    photos = [photo_of(item, 0) for item in alike]
    for first, one in enumerate(photos):
        for other in photos[first + 1 :]:
            assert np.abs(one - other).mean() > 1.5
