"""Several automata as one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neve.errors import NeveError
from neve.fsa.arc_attributes import OWN, joined
from neve.fsa.fsa import Fsa


class FsaVec(Fsa):
    """Several automata; `vec[i]` is one of them, as an `Fsa`."""

    def __init__(self, fsas: Sequence[Fsa]):
        """Joins automata (`Fsa` or `FsaVec`); only attributes that all of them have are kept."""
        if not fsas:
            none = torch.empty(0, dtype=torch.int32)
            splits = torch.zeros(1, dtype=torch.int64)
            self._set(none, none, none, none.float(), splits, splits)
            return
        devices = sorted({str(fsa.device) for fsa in fsas})
        if len(devices) > 1:
            raise NeveError(f"fsas: on several devices ({', '.join(devices)}); move them to one")
        names = set.intersection(*(set(fsa.arc_attributes()) for fsa in fsas))
        attributes = {name: joined([getattr(f, name) for f in fsas]) for name in sorted(names)}
        attributes.update(
            (name, value)
            for name, value in fsas[0].other_attributes().items()
            if all(name in fsa.attributes for fsa in fsas)
        )
        counts = [torch.cat([torch.diff(getattr(f, n)) for f in fsas]) for n in OWN[4:6]]
        zero = torch.zeros(1, dtype=torch.int64)
        self._set(
            *(torch.cat([getattr(fsa, n) for fsa in fsas]) for n in OWN[:4]),
            *(torch.cat((zero, count.cumsum(0))) for count in counts),
            attributes,
        )

    @classmethod
    def from_packed(cls, packed: torch.Tensor) -> FsaVec:
        """From the 1-D int32 tensor that k2 keeps an FsaVec in.

        It is the number of automata, 0, the splits of states, the splits of arcs, and the arcs.
        Raises NeveError unless it is whole and each automaton is well-formed.
        """
        if packed.ndim != 1 or packed.dtype != torch.int32 or len(packed) < 4:
            raise NeveError("arcs: (A, 4) or k2's packed 1-D form, int32, is needed")
        device, packed = packed.device, packed.detach().cpu()
        count = int(packed[0])
        begin = 2 + 2 * (count + 1)
        if count < 0 or len(packed) < begin or (len(packed) - begin) % 4:
            raise NeveError(f"arcs: {len(packed)} numbers are no packed form of {count} automata")
        state_splits, arc_splits = packed[2:begin].long().reshape(2, -1)
        arcs = packed[begin:].reshape(-1, 4)
        for name, splits, total in (
            ("states", state_splits, None),
            ("arcs", arc_splits, len(arcs)),
        ):
            rises = splits[0] == 0 and bool((torch.diff(splits) >= 0).all())
            if not rises or total not in (None, int(splits[-1])):
                raise NeveError(f"arcs: the splits of {name} do not rise from 0 to their number")
        fsas = [
            Fsa(arcs[a:b], num_states=int(states))
            for a, b, states in zip(arc_splits, arc_splits[1:], torch.diff(state_splits))
        ]
        return cls(fsas).to(device)

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that k2.Fsa.from_dict reads, with `arcs` in the packed form."""
        head = torch.tensor([self.num_fsas, 0])
        parts = [head, self.state_splits, self.arc_splits, self.arcs_as_tensor().reshape(-1)]
        packed = torch.cat([part.to(self.device, torch.int32) for part in parts])
        return {"arcs": packed, **self.attributes}

    @property
    def shape(self) -> tuple:
        """(number of automata, None, None), as in k2."""
        return (self.num_fsas, None, None)

    def __len__(self) -> int:
        return self.num_fsas

    def __getitem__(self, index: int) -> Fsa:
        index = range(len(self))[index]
        begin, end = (int(x) for x in self.arc_splits[index : index + 2])
        arcs = slice(begin, end)
        attributes = {name: value[arcs] for name, value in self.arc_attributes().items()}
        attributes.update(self.other_attributes())
        return Fsa._make(
            *(getattr(self, name)[arcs] for name in OWN[:4]),
            self.state_splits[index : index + 2] - self.state_splits[index],
            torch.tensor([0, end - begin]),
            attributes,
        )

    def __iter__(self):
        return (self[i] for i in range(len(self)))
