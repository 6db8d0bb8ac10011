"""One thread for torch in tests: their tensors are tiny, and threads that wait for one another on a busy machine are not."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
