"""Loading weights: the moving average, other models, damaged files."""

import pytest
import torch

from neve.errors import NeveError
from neve.models import CtcModel, ModelConfig, TransducerModel, load_model

MODEL = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
JOINED = ModelConfig(
    kind="transducer", encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8,
    joiner_dim=8,
)  # fmt: skip


def test_weights_are_the_moving_average_where_there_is_one(tmp_path):
    model = CtcModel(MODEL, 8, 5, auxiliary_tokens=3)
    other = {name: value + 1 for name, value in model.state_dict().items()}
    for average, wanted in ((None, model.state_dict()), (other, other)):
        torch.save({"model": model.state_dict(), "average": average}, tmp_path / "epoch-1.pt")
        loaded = load_model(tmp_path / "epoch-1.pt", MODEL, 8, 5)
        assert not loaded.training
        state = loaded.state_dict()
        assert state and all(torch.equal(value, wanted[name]) for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 9}, "do not fit.*size mismatch"),
        ({"tokens": 6}, r"do not fit.*head\.weight"),
        ({"config": ModelConfig(encoder="tdnn", dim=8, layers=3, subsampling=3)}, "do not fit"),
    ],
)
def test_a_checkpoint_of_another_model_is_named(tmp_path, change, message):
    torch.save({"model": CtcModel(MODEL, 8, 5).state_dict()}, tmp_path / "averaged.pt")
    arguments = {"config": MODEL, "features": 8, "tokens": 5, **change}
    with pytest.raises(NeveError, match=rf"averaged\.pt: .*{message}"):
        load_model(tmp_path / "averaged.pt", **arguments)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "averaged.pt"
    with pytest.raises(NeveError, match=r"averaged\.pt: no such checkpoint"):
        load_model(path, MODEL, 8, 5)
    path.write_bytes(b"not weights")
    with pytest.raises(NeveError, match=r"averaged\.pt: not a readable checkpoint.*make it again"):
        load_model(path, MODEL, 8, 5)
    for content in ({"labels": torch.zeros(3)}, [1], {"model": None}):
        torch.save(content, path)
        with pytest.raises(NeveError, match="no weights of a model"):
            load_model(path, MODEL, 8, 5)


@pytest.mark.parametrize("ctc_tokens", [0, 7])
def test_a_transducer_is_read_with_the_heads_it_has(tmp_path, ctc_tokens):
    model = TransducerModel(JOINED, 8, 5, ctc_tokens, training=True)
    torch.save({"model": model.state_dict()}, tmp_path / "averaged.pt")
    loaded = load_model(tmp_path / "averaged.pt", JOINED, 8, 5, 7)
    state = loaded.state_dict()
    assert not any(name.startswith("simple_") for name in state)
    assert any(name.startswith("ctc_head.") for name in state) == bool(ctc_tokens)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    if ctc_tokens:  # its tokens are taken to be the transducer's if nothing else is said
        with pytest.raises(NeveError, match=r"do not fit.*ctc_head"):
            load_model(tmp_path / "averaged.pt", JOINED, 8, 5)
