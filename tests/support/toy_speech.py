"""Tasks on toy speech: each phone is a pattern of its own, which a tiny model learns at once."""

import types

import torch

from neve.data import AugmentConfig, DataConfig
from neve.lang import LangConfig, build_lang
from neve.models import ModelConfig
from neve.tasks import LossConfig, speech
from neve.training import TrainingConfig

BINS = 8
PHONES = {"YES": "Y EH S", "NO": "N OW", "SO": "S OW"}
TEXTS = ["YES NO", "NO SO", "SO YES", "NO", "YES YES NO", "SO NO"]
LEXICON = "".join(f"{word} {phones}\n" for word, phones in PHONES.items())


def pattern(phone):
    """(8,) what the phone sounds like."""
    generator = torch.Generator().manual_seed(sum(map(ord, phone)))
    return 2.0 * torch.randn(BINS, generator=generator)


def said(text, frames=6, silence=4, noise=0.3, seed=0):
    """(T, 8) features of a text: every phone `frames` long, silence before and after."""
    generator = torch.Generator().manual_seed(seed)
    phones = [phone for word in text.split() for phone in PHONES[word].split()]
    rows = [torch.zeros(silence, BINS)]
    rows += [pattern(phone).expand(frames, BINS) for phone in phones]
    rows = torch.cat([*rows, torch.zeros(silence, BINS)])
    return rows + noise * torch.randn(rows.shape, generator=generator)


class ToyLoader:
    """One batch of all texts an epoch; another `views` are the same with other noise."""

    views = 1

    def __init__(self, texts=TEXTS, views=1, **how):
        self.names = [f"u{i}" for i in range(len(texts))]
        self.texts, self.views, self.how = list(texts), views, how
        self.seconds = sum(len(said(text, **how)) for text in texts) / 100

    def load_state_dict(self, state):
        self.epoch = state["epoch"]

    def leave_out(self, ids):
        keep = [i for i, name in enumerate(self.names) if name not in ids]
        self.names = [self.names[i] for i in keep]
        self.texts = [self.texts[i] for i in keep]

    def contents(self):
        for name, text in zip(self.names, self.texts):
            yield name, text, len(said(text, **self.how))

    def transcripts(self):
        return list(self.texts)

    def largest(self, size):
        return next(iter(self))

    def view(self, number):
        rows = [said(text, seed=1000 * number + i, **self.how) for i, text in enumerate(self.texts)]
        lengths = torch.tensor([len(row) for row in rows])
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

    def __iter__(self):
        features, lengths = self.view(0)
        batch = {
            "features": features,
            "feature_lens": lengths,
            "ids": list(self.names),
            "texts": list(self.texts),
            "durations": [length / 100 for length in lengths.tolist()],
        }
        if self.views > 1:
            batch["views"] = torch.stack([self.view(i)[0] for i in range(1, self.views)], dim=1)
        yield batch


def make_langs(directory, **char):
    """Lang directories of letters and of phones for `TEXTS`: (letters, phones)."""
    (directory / "text").write_text("".join(f"u{i} {text}\n" for i, text in enumerate(TEXTS)))
    (directory / "lexicon.txt").write_text(LEXICON)
    made = []
    for kind in ("char", "phone"):
        out = directory / f"lang_{kind}"
        if not out.exists():
            out.mkdir()
            settings = LangConfig(kind=kind, write_pt=False)
            lexicon = directory / "lexicon.txt" if kind == "phone" else None
            build_lang(settings, [directory / "text"], lexicon, out)
        made.append(out)
    return made


def make_config(kind, *, model=None, training=None, **loss):
    """A root configuration for a tiny model."""
    shape = {
        "kind": kind, "encoder": "tdnn", "dim": 32, "layers": 3, "subsampling": 2, "dropout": 0.0,
        "predictor_dim": 16, "joiner_dim": 32, "tdnn_dilations": [1, 1, 2],
    }  # fmt: skip
    return types.SimpleNamespace(
        data=DataConfig(train=["train"], dev=["dev"], max_duration=60.0),
        augment=AugmentConfig(),
        features=types.SimpleNamespace(num_bins=BINS),
        model=ModelConfig(**{**shape, **(model or {})}),
        training=TrainingConfig(device="cpu", **(training or {})),
        loss=LossConfig(**loss),
    )


def toy_data(monkeypatch, texts=TEXTS, **how):
    """Let tasks load toy speech; `how` as for `said`."""

    def loader(files, data, augment, *, training, views=1, **_):
        return ToyLoader(texts, views if training else 1, **how)

    monkeypatch.setattr(speech, "Loader", loader)


def fit(task, updates, rate=0.01, progress=None):
    """Updates on the batch of an epoch; the losses' totals."""
    optimizer = torch.optim.Adam(task.model.parameters(), rate)
    task.model.train()
    totals = []
    for number in range(updates):
        if progress is not None:
            task.begin_update(progress(number))
        for batch in task.train_batches(1):
            optimizer.zero_grad()
            loss = task.loss(batch)
            loss.total.backward()
            optimizer.step()
            totals.append(float(loss.total.detach()))
    task.model.eval()
    return totals
