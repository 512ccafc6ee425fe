"""A large lexicon and trigram, made up, for benchmarks/engine.py: does the graph fit?"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from hlg import prepare

from neve.graphs import build_graph
from neve.kernels import one_best

PHONES = 70


def scale(num_words: int = 200_000, num_bigrams: int = 1_000_000) -> list[str]:
    """Size, time and memory of the HLG, and the time of decoding with it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        spellings = make_lexicon(rng, num_words, out)
        counts = make_arpa(rng, num_words, num_bigrams, out)
        prepare(out, out / "lm.arpa", "", out / "lang")
        cpu, wall = time.process_time(), time.perf_counter()
        graph = build_graph(out / "lang", out / "lang/G.fst.txt")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # speech: random words, each phone over three frames, with noise
    said = [spellings[int(x)] for x in num_words ** rng.random(40) - 1]
    frames = [p + 1 for word in said for p in word for _ in range(3)]
    logits = rng.normal(size=(1, len(frames), PHONES + 1)).astype(np.float32) * 2
    logits[0, np.arange(len(frames)), frames] += 8
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    one_best(graph, logits[:, :50], np.array([50]))
    begin = time.process_time()
    (path,) = one_best(graph, logits, np.array([len(frames)]))
    spent = time.process_time() - begin
    found = graph.words(path.arcs)[0]
    seconds = len(frames) * 0.04
    text = (
        f"{num_words:,} words, {counts[1]:,} bigrams and {counts[2]:,} trigrams, made up: the HLG "
        f"has {graph.num_states:,} states and {graph.num_arcs:,} arcs and is built in {cpu:.0f} "
        f"CPU seconds ({wall:.0f} s); the process takes {peak:.1f} GB at most. The best path of "
        f"{seconds:.0f} s of made-up speech at 25 frames a second ({len(found)} words found, "
        f"{len(said)} said) takes {spent:.2f} CPU seconds, a real-time factor of "
        f"{spent / seconds:.4f}."
    )
    return ["", text]


def make_lexicon(rng, num_words: int, out: Path) -> list[tuple[int, ...]]:
    """Writes tokens.txt, words.txt and lexicon_disambig.txt; each word's phones."""
    phones = [f"p{i}" for i in range(1, PHONES + 1)]
    words = [f"w{i}" for i in range(num_words)]
    spellings: list[tuple[int, ...]] = []
    for i in range(num_words):
        stem = ()
        if i > 1000 and rng.random() < 0.6:  # spellings grow from those of others, as words do
            stem = spellings[int(rng.integers(i))][: int(rng.integers(2, 7))]
        rest = (int(x) for x in rng.integers(0, PHONES, int(rng.integers(2, 6))))
        spellings.append((*stem, *rest))
    prefixes = {s[:n] for s in spellings for n in range(1, len(s))}
    times: dict[tuple[int, ...], int] = {}
    for spelling in spellings:
        times[spelling] = times.get(spelling, 0) + 1
    given: dict[tuple[int, ...], int] = {}
    lexicon = []
    for word, spelling in zip(words, spellings):
        tokens = [phones[x] for x in spelling]
        if times[spelling] > 1 or spelling in prefixes:
            given[spelling] = given.get(spelling, 0) + 1
            tokens.append(f"#{given[spelling]}")
        lexicon.append(" ".join([word, *tokens]))
    disambig = [f"#{i}" for i in range(max(given.values(), default=0) + 2)]
    tables = {
        "tokens.txt": ["<blk>", *phones, *disambig],
        "words.txt": ["<eps>", *words, "#0", "<s>", "</s>"],
    }
    (out / "lang").mkdir()
    for name, symbols in tables.items():
        (out / name).write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)))
    (out / "lexicon_disambig.txt").write_text("\n".join(lexicon) + "\n")
    return spellings


def make_arpa(rng, num_words: int, num_bigrams: int, out: Path) -> tuple[int, int, int]:
    """Writes lm.arpa: words as frequent as in a text; histories of trigrams are bigrams."""
    drawn = (num_words ** rng.random(2 * num_bigrams)).astype(np.int64) - 1
    bigrams = np.unique(drawn.reshape(-1, 2), axis=0)
    after = (num_words ** rng.random(len(bigrams))).astype(np.int64) - 1
    known = set(map(tuple, bigrams.tolist()))
    trigrams = [t for t in np.column_stack((bigrams, after)).tolist() if (t[1], t[2]) in known]
    counts = (num_words + 2, len(bigrams), len(trigrams))
    with open(out / "lm.arpa", "w", encoding="utf-8") as stream:
        stream.write("\\data\\\n" + "".join(f"ngram {i}={n}\n" for i, n in enumerate(counts, 1)))
        stream.write("\n\\1-grams:\n-99\t<s>\t-0.5\n-2.0\t</s>\n")
        stream.writelines(f"{-np.log10(i + 2) - 1:.4f}\tw{i}\t-0.5\n" for i in range(num_words))
        stream.write("\n\\2-grams:\n")
        stream.writelines(f"-1.5\tw{a}\tw{b}\t-0.3\n" for a, b in bigrams.tolist())
        stream.write("\n\\3-grams:\n")
        stream.writelines(f"-1.0\tw{a}\tw{b}\tw{c}\n" for a, b, c in trigrams)
        stream.write("\n\\end\\\n")
    return counts
