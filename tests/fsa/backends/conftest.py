"""Seeds of the random cases: a fresh one for each test, named where one fails."""

import os

import pytest
import torch


@pytest.fixture
def seed():
    value = int.from_bytes(os.urandom(4))
    torch.manual_seed(value)
    return value
