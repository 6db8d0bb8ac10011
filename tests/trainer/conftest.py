"""One thread for torch in tests: tensors are tiny here, and on a busy machine threads wait long for one another."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
