import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DamagedFile
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.model import Model, write_model
from tests.fakes import FakeEncoder, projection, tiny_model, tiny_onnx

DIM = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", dim=DIM)


@pytest.fixture(scope="module")
def encoder(model: Model) -> Encoder:
    return OpenVinoEncoder(model, threads=2)


def photos(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32)).astype(np.float32)


def test_openvino_computes_what_plain_numpy_computes(encoder: Encoder) -> None:
    batch = photos(7)
    found, expected = encoder.encode(batch), FakeEncoder(DIM).encode(batch)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-6)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-5)


def test_an_encoder_tells_whose_vectors_it_makes(encoder: Encoder, model: Model) -> None:
    assert (encoder.model_id, encoder.dim, encoder.preprocess) == (model.spec.model_id, DIM, model.spec.preprocess)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 33])
def test_a_vector_does_not_depend_on_the_batch_to_the_last_bit(encoder: Encoder, size: int) -> None:
    batch = photos(33)
    whole = encoder.encode(batch)
    for start in range(0, 33, size):
        part = encoder.encode(batch[start : start + size])
        assert np.array_equal(part.embeddings, whole.embeddings[start : start + size])
        assert np.array_equal(part.features, whole.features[start : start + size])


def test_vectors_do_not_depend_on_the_number_of_threads(model: Model) -> None:
    batch = photos(5)
    one, three = (OpenVinoEncoder(model, threads=threads).encode(batch) for threads in (1, 3))
    assert np.array_equal(one.embeddings, three.embeddings)


def test_embeddings_have_unit_length(encoder: Encoder) -> None:
    lengths = np.linalg.norm(encoder.encode(photos(20)).embeddings, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_threads_share_an_encoder_without_mixing_up_their_photos(encoder: Encoder) -> None:
    batches = [photos(count, seed) for seed, count in enumerate([1, 9, 1, 4, 1, 16] * 4)]
    alone = [encoder.encode(batch).embeddings for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(encoder.encode, batches))
    for expected, found in zip(alone, together, strict=True):
        assert np.array_equal(expected, found.embeddings)


def test_no_photos_give_no_vectors(encoder: Encoder) -> None:
    found = encoder.encode(photos(0))
    assert found.embeddings.shape == (0, DIM)


def test_other_memory_layouts_give_the_same_vectors(encoder: Encoder) -> None:
    batch = photos(4)
    channels_last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(encoder.encode(channels_last).embeddings, encoder.encode(batch).embeddings)


def test_an_encoder_outlives_its_directory(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    encoder = OpenVinoEncoder(model, threads=1)
    for file in model.path.iterdir():
        file.unlink()
    assert encoder.encode(photos(1)).embeddings.shape == (1, DIM)


def test_a_network_that_cannot_be_read_is_a_damaged_file(tmp_path: Path) -> None:
    good = tiny_model(tmp_path / "good")
    files = {"encoder.onnx": b"not a network", "heads.safetensors": good.heads_path.read_bytes()}
    bad = write_model(tmp_path / "bad", good.spec, files)
    with pytest.raises(DamagedFile, match=r"encoder\.onnx cannot be run"):
        OpenVinoEncoder(bad)


def test_a_network_that_is_not_what_the_model_says_is_refused(tmp_path: Path) -> None:
    good = tiny_model(tmp_path / "good")
    files = {"encoder.onnx": tiny_onnx(projection(8), 32), "heads.safetensors": good.heads_path.read_bytes()}
    with pytest.raises(DamagedFile, match=r"model\.json says"):
        OpenVinoEncoder(write_model(tmp_path / "other", replace(good.spec, dim=DIM), files))


COME_AND_GO = """
import os, pathlib, signal, sys
import numpy as np
from engine.vision.encoder import OpenVinoEncoder
from tests.fakes import tiny_model
photos = np.zeros((1, 3, 32, 32), np.float32)
model = tiny_model(pathlib.Path(sys.argv[1]) / "model")
for _ in range(4):
    first, second = OpenVinoEncoder(model, threads=1), OpenVinoEncoder(model, threads=1)
    first.encode(photos), second.encode(photos)
    del first, second
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_process_whose_encoders_come_and_go_still_hears_signals(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COME_AND_GO, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


QUIET = """
import os, socket, sys
from pathlib import Path
def watch(event, arguments):
    if event in ("os.fork", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(3)
sys.addaudithook(watch)
import numpy as np
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.model import Model
OpenVinoEncoder(Model.open(Path(sys.argv[1])), threads=1).encode(np.zeros((1, 3, 32, 32), np.float32))
"""


def test_encoding_starts_no_process_calls_nobody_and_leaves_nothing_at_home(model: Model, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {name: value for name, value in environment.items() if name != "CI"}  # where nobody reports home
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(model.path)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
