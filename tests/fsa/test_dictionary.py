"""Graph files in k2's form."""

import pickle
import pickletools
import zipfile

import pytest
import torch

from neve.errors import NeveError
from neve.fsa import Fsa, RaggedTensor, load_fsa, load_graph_dict, save_graph_dict

FSA = "0 1 5 [ 2 3 ] -0.5\n1 2 -1 [ ] 0\n2\n"


def test_ragged_attributes_go_around(tmp_path):
    fsa = Fsa.from_str(FSA, acceptor=False)
    fsa.weights = torch.tensor([1.0, 2.0])
    fsa.note = "kept"
    save_graph_dict(fsa.as_dict(), tmp_path / "HLG.pt")
    again = load_fsa(tmp_path / "HLG.pt")
    assert again.to_str() == FSA
    assert again.weights.tolist() == [1.0, 2.0]
    assert again.note == "kept"


def test_the_file_names_the_class_of_k2_and_nothing_of_ours(tmp_path):
    """What k2 needs: its class, made anew, with the state (splits, "row_ids1", values)."""
    ragged = RaggedTensor.from_list([[2, 3], []])
    save_graph_dict(
        {"arcs": torch.zeros(2, 4, dtype=torch.int32), "aux_labels": ragged}, tmp_path / "f.pt"
    )
    with zipfile.ZipFile(tmp_path / "f.pt") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        data = archive.read(name)
    operations = [(op.name, arg) for op, arg, _ in pickletools.genops(data)]
    names = {arg for op, arg in operations if op == "GLOBAL"}
    assert "_k2.ragged RaggedTensor" in names
    assert not any("neve" in name for name in names)
    start = operations.index(("GLOBAL", "_k2.ragged RaggedTensor"))
    rest = [op for op, _ in operations[start:] if not op.endswith("PUT")]
    assert rest[:3] == ["GLOBAL", "EMPTY_TUPLE", "NEWOBJ"]
    assert "BUILD" in rest
    assert ("BINUNICODE", "row_ids1") in operations


def test_plain_tensors_are_read_as_torch_saved_them(tmp_path):
    fsa = Fsa.from_str("0 1 5 2 -0.5\n1 2 -1 -1 0\n2\n", acceptor=False)
    torch.save({"arcs": fsa.arcs_as_tensor(), "aux_labels": fsa.aux_labels}, tmp_path / "L.pt")
    assert load_fsa(tmp_path / "L.pt").to_str() == fsa.to_str()


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "HLG.pt"
    with pytest.raises(NeveError, match="HLG.pt: no such file"):
        load_graph_dict(path)
    path.write_bytes(b"not a graph")
    with pytest.raises(NeveError, match="HLG.pt: not a graph file"):
        load_graph_dict(path)
    torch.save([1, 2], path)
    with pytest.raises(NeveError, match="HLG.pt: holds no dictionary"):
        load_graph_dict(path)
    torch.save({"arcs": torch.zeros(2, 3, dtype=torch.int32)}, path)
    with pytest.raises(NeveError, match="HLG.pt: arcs"):
        load_fsa(path)


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"arcs": Payload()}, tmp_path / "bad.pt", pickle_module=pickle)
    with pytest.raises(NeveError, match="not a graph file"):
        load_graph_dict(tmp_path / "bad.pt")
    assert capsys.readouterr().out == ""
