"""Neural language models over tokens: what LSTM and Transformer have in common.

A sequence is preceded and followed by the boundary token. `forward` gives the logits of whole
sequences for training; `score` whole sequences' probabilities for rescoring; `init_state`, `step`,
`select` and `join` give a search one token of each hypothesis at a time, with the same results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from neve.errors import ConfigError, NeveError
from neve.models.lm_config import LmModelConfig
from neve.tensors import load_checkpoint

SCORED = 1 << 14  # tokens, padding included, that `score` takes at a time
SETTINGS = "lm.yaml"


class LanguageModel(nn.Module):
    """A model of V tokens, of which `boundary` stands before and after each sequence.

    A subclass has `encode`, (N, U) tokens to (N, U, D), and what a search uses.

    Attributes:
        vocab_size: V; the boundary is one of them.
        boundary: its id.
    """

    def __init__(self, config: LmModelConfig, vocab_size: int, boundary: int):
        super().__init__()
        for name in ("dim", "layers", "heads", "feedforward_dim", "context"):
            if getattr(config, name) < 1:
                raise ConfigError(f"neural_lm.model.{name} must be at least 1")
        self.vocab_size, self.boundary = vocab_size, boundary
        self.embedding = nn.Embedding(vocab_size, config.dim)
        nn.init.normal_(self.embedding.weight, std=config.dim**-0.5)
        self.scale = math.sqrt(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.dim, vocab_size)
        if config.tied:
            self.output.weight = self.embedding.weight
        nn.init.zeros_(self.output.bias)

    def embed(self, tokens: Tensor) -> Tensor:
        """(...) tokens to (..., D)."""
        return self.dropout(self.embedding(tokens) * self.scale)

    def encode(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, U) tokens, the boundary first, to (N, U, V) logits of what follows each of them."""
        return self.output(self.encode(tokens))

    def losses(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """(N, U) negative log probabilities of targets (N, U) after tokens; 0 where it is -1."""
        logits = self(tokens)
        flat = F.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1, reduction="none"
        )
        return flat.view(targets.shape)

    @torch.no_grad()
    def score(self, sequences: Sequence[Sequence[int]], ended: bool = True) -> Tensor:
        """(N,) natural log probability of each sequence of tokens, in any order and length.

        Args:
            sequences: without the boundary. An empty one is the end alone.
            ended: whether the end of the sequence is predicted too.

        Raises NeveError for an id that is not a token.
        """
        device = self.embedding.weight.device
        for sequence in sequences:
            if len(sequence) and not 0 <= min(sequence) <= max(sequence) < self.vocab_size:
                raise NeveError(f"a token id is not between 0 and {self.vocab_size - 1}")
        result = torch.zeros(len(sequences), device=device)
        for rows in _by_length(sequences):
            batch = [[*sequences[row], self.boundary][: None if ended else -1] for row in rows]
            if not max(map(len, batch)):
                continue
            inputs, targets = padded(batch, self.boundary)
            losses = self.losses(inputs.to(device), targets.to(device))
            result[torch.tensor(rows, device=device)] = -losses.sum(1)
        return result

    def start(self, count: int) -> tuple[Tensor, object]:
        """(count, V) log probabilities of the first token, and the state of `count` hypotheses."""
        device = self.embedding.weight.device
        boundary = torch.full((count,), self.boundary, dtype=torch.int64, device=device)
        return self.step(boundary, self.init_state(count, device))

    def init_state(self, count: int, device: torch.device | None = None):
        """The state of `count` hypotheses before their first `step`, which takes the boundary."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state) -> tuple[Tensor, object]:
        """The next token (n,) of each hypothesis; (n, V) log probabilities of the one that follows
        it, and the state."""
        raise NotImplementedError

    @staticmethod
    def select(state, rows: Tensor):
        """The state of hypotheses `rows` (m,), in this order, each as often as it is named."""
        raise NotImplementedError

    @staticmethod
    def join(states: Sequence):
        """One state with the hypotheses of all `states`, in their order."""
        raise NotImplementedError


def _by_length(sequences: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Rows of similar length, `SCORED` tokens at a time."""
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * (len(sequences[row]) + 1) > SCORED:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(targets: Sequence[Iterable[int]], first: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """(inputs, targets), each (N, U): what is predicted, and what stands before it.

    Args:
        targets: the tokens to predict, of each sequence.
        first: what stands before the first of them, the same for all or one for each sequence.

    Padding is -1 in the targets.
    """
    rows = [torch.as_tensor(row, dtype=torch.int64) for row in targets]
    wanted = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    begin = torch.as_tensor(first, dtype=torch.int64).reshape(-1, 1).expand(len(rows), 1)
    return torch.cat([begin, wanted[:, :-1].clamp(min=0)], dim=1), wanted


def build_lm(config: LmModelConfig, vocab_size: int, boundary: int) -> LanguageModel:
    """The model that `config` names, with fresh weights."""
    if config.kind == "lstm":
        from neve.models.lstm_lm import LstmLm

        return LstmLm(config, vocab_size, boundary)
    from neve.models.transformer_lm import TransformerLm

    return TransformerLm(config, vocab_size, boundary)


def load_lm(directory: str | Path) -> LanguageModel:
    """The model of a directory that `neve train-lm` made (model.pt, lm.yaml), for evaluation.

    Raises NeveError for a file that is missing, damaged, or of another model.
    """
    directory = Path(directory)
    path = directory / SETTINGS
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = LmModelConfig(**settings["model"])
        model = build_lm(config, settings["vocab_size"], settings["boundary"])
    except FileNotFoundError:
        raise NeveError(
            f"{path}: there is no such file; `neve train-lm` makes a directory with it"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise NeveError(
            f"{path}: does not describe a language model ({error!r}); copy or make it again"
        ) from error
    weights = directory / "model.pt"
    try:
        model.load_state_dict(load_checkpoint(weights)["model"])
    except RuntimeError as error:
        raise NeveError(
            f"{weights}: does not fit {path} ({str(error).splitlines()[-1].strip()}); copy or make "
            "both again"
        ) from error
    return model.eval()
