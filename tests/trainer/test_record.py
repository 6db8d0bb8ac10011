"""What a training finds in its folder of one before it, and what it takes away."""

from pathlib import Path

from engine.vision.preprocess import Preprocess
from tests.trainer.shapes import shapes_recipe
from trainer.checkpoint import FILE, Checkpoint, Checkpoints
from trainer.record import Record
from trainer.tables import TrainingData

EARLIER = {"checkpoint.pt", "checkpoint.previous.pt", "metrics.jsonl", "best.pt", "answers.json"}


def record_in(out: Path) -> Record:
    for name in (*EARLIER, "model.json"):
        (out / name).write_text("")
    preprocess = Preprocess(32, (0.5,) * 3, (0.25,) * 3, "bicubic", 1.0)
    return Record(shapes_recipe(), TrainingData((), {}), {}, preprocess, out)


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_a_training_begun_anew_has_no_earlier_one_to_fall_back_on(tmp_path: Path) -> None:
    record, checkpoints = record_in(tmp_path), Checkpoints(tmp_path)
    record.make_room()
    assert names(tmp_path) == {"model.json"}
    checkpoints.save(Checkpoint(1, "text", {}, {}, None, {}))
    record.make_room()
    assert names(tmp_path) == {"model.json", FILE}
    assert not checkpoints.fall_back()


def test_a_training_that_goes_on_takes_nothing_away(tmp_path: Path) -> None:
    record = record_in(tmp_path)
    record.restore(0)
    record.make_room()
    assert names(tmp_path) == {"model.json", *EARLIER}
