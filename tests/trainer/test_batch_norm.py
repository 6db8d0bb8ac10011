"""Batch norm's statistics: what the photos are, whatever they were."""

import pytest
import torch
from torch import Tensor, nn

from engine.vision.preprocess import Preprocess
from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer.batch_norm import draw_photos, reestimate
from trainer.photos import read_photos
from trainer.tables import TrainingSet, read_training_data
from trainer.trunk import make_trunk

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class OneNorm(nn.Module):
    """A trunk whose only batch norm sees the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)

    def forward_features(self, photos: Tensor) -> Tensor:
        result: Tensor = self.norm(self.drop(photos))
        return result


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingSet, ...]:
    return read_training_data(shapes_recipe(), draw_shapes(tmp_path_factory.mktemp("shapes"))).sets


def test_statistics_are_those_of_all_photos_together(
    sets: tuple[TrainingSet, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.batch_norm.BATCH", 7)
    trunk, uris = OneNorm(), sets[0].uris[:21]
    with torch.no_grad():
        trunk.norm.running_mean += 5
    assert reestimate(trunk, uris, PREPROCESS) == 21
    pixels = torch.from_numpy(read_photos(uris, PREPROCESS)[0]).double().transpose(0, 1).flatten(1)
    assert trunk.norm.running_mean is not None and trunk.norm.running_var is not None
    torch.testing.assert_close(trunk.norm.running_mean.double(), pixels.mean(dim=1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(trunk.norm.running_var.double(), pixels.var(dim=1), rtol=1e-3, atol=1e-3)
    assert trunk.training and trunk.drop.training and trunk.norm.momentum == 0.1


def test_a_real_trunk_then_serves_as_it_trained(sets: tuple[TrainingSet, ...]) -> None:
    """With one batch the statistics are the batch's own, so evaluating gives what training mode gives."""
    torch.manual_seed(0)
    trunk = make_trunk(shapes_recipe().trunk)
    uris = sets[0].uris
    photos = torch.from_numpy(read_photos(uris, PREPROCESS)[0])
    with torch.no_grad():
        expected = trunk.train().forward_features(photos)  # type: ignore[operator]
        before = trunk.eval().forward_features(photos)  # type: ignore[operator]
        reestimate(trunk, uris, PREPROCESS)
        after = trunk.eval().forward_features(photos)  # type: ignore[operator]
    assert (before - expected).abs().mean() > 0.1
    torch.testing.assert_close(after, expected, rtol=0.2, atol=0.2)  # the running variance is the unbiased one
    assert (after - expected).abs().mean() < 0.02


def test_photos_that_cannot_be_read_change_nothing() -> None:
    trunk = OneNorm()
    assert reestimate(trunk, ["file:///no/such/photo.jpg"] * 3, PREPROCESS) == 0
    assert torch.equal(trunk.norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]


def test_photos_are_drawn_by_quota_and_none_twice(sets: tuple[TrainingSet, ...]) -> None:
    uris = draw_photos(sets, 10, seed=1)
    assert len(uris) == len(set(uris)) == 10
    assert draw_photos(sets, 10, seed=1) == uris != draw_photos(sets, 10, seed=2)
    assert sorted(draw_photos(sets, 10_000, seed=1)) == sorted(sets[0].uris)
