"""Stage 1 of the experiment on names: speaks its sentences with eSpeak NG, and writes manifests.

Sentences with names and strings of words, in American English, with the rooms and the noise of
local/synth. The names of dev and of test are in no training sentence, and in neither lexicon.txt
nor the text of the language models. Pronunciations are eSpeak's, in the phones of the CMU
dictionary.
"""

import os
import random
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a job is one core
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "local"))

from synth.acoustics import Acoustics  # noqa: E402
from synth.corpus import Utterance, make_audio, options, write_manifests  # noqa: E402
from synth.pronounce import pronounce  # noqa: E402
from synth.speak import Speaker  # noqa: E402
from synth.voices import Voice  # noqa: E402

SIZES = {"train": 1800, "dev": 120, "test": 300}  # utterances
NAMES = {"train": 176, "dev": 30, "test": 60, "never": 60}
SAMPLING_RATE = 16000
VARIANTS = {
    "train": "f1 f2 f5 Alicia Annie aunty belinda linda shelby m1 m3 m5 m7 m8 Alex Andy Diogo Gene "
    "Hugo Lee Mario Michael Mike boris grandpa ian john marcelo max pablo quincy rob robert travis",
    "dev": "f4 m4 victor Nguyen",
    "test": "f3 Andrea grandma m2 m6 Denis norbert pedro",
}
# {} is a name, <> an ordinary word
TEMPLATES = (
    "CALL {}",
    "PLEASE CALL {} AND {}",
    "SEND A MESSAGE TO {}",
    "IS {} AT HOME",
    "{} IS LATE TODAY",
    "MEET {} IN THE <>",
    "ASK {} ABOUT THE <>",
    "THE <> IS FOR {}",
    "DID {} FIND THE <>",
    "TELL {} THAT {} IS HERE",
)
# of the CMU dictionary, for what eSpeak says: few enough that names need no other
PHONES = {
    "ə": "AH", "ɐ": "AH", "ʌ": "AH", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "iː": "IY", "ɛ": "EH",
    "ɚ": "ER", "ɜː": "ER", "æ": "AE", "ɑː": "AA", "ɑːɹ": "AA R", "ɔ": "AO", "ɔː": "AO",
    "ɔːɹ": "AO R", "ʊ": "UH", "uː": "UW", "ʊɹ": "UH R", "oʊ": "OW", "eɪ": "EY", "aɪ": "AY",
    "aʊ": "AW", "ɔɪ": "OY", "aɪə": "AY AH", "iə": "IY AH", "ɪɹ": "IY R", "ɛɹ": "EH R",
    "əl": "AH L", "n̩": "AH N", "ɹ": "R", "ɾ": "T", "ʔ": "T", "dʒ": "JH", "tʃ": "CH", "θ": "TH",
    "ð": "DH", "ʃ": "SH", "ʒ": "ZH", "ŋ": "NG", "h": "HH", "j": "Y", "ɡ": "G",
    **{phone: phone.upper() for phone in "b d f k l m n p s t v w z".split()},
}  # fmt: skip


def names() -> dict[str, list[str]]:
    """The names of each part, always the same ones."""
    drawn = (HERE / "names.txt").read_text().split()
    random.Random("names").shuffle(drawn)
    parts, begin = {}, 0
    for part, count in NAMES.items():
        parts[part] = sorted(drawn[begin : begin + count])
        begin += count
    return parts


def words() -> list[str]:
    """The ordinary words, and those of the templates."""
    carriers = {word for line in TEMPLATES for word in line.split()} - {"{}", "<>"}
    return sorted(carriers | set((HERE / "words.txt").read_text().split()))


def voice(variant: str) -> Voice:
    """The American speaker with this variant of the voice."""
    draw = random.Random(f"voice:{variant}")
    numbers = draw.randint(135, 190), draw.randint(35, 65), draw.randint(25, 75)
    return Voice(f"en-us-{variant}", "en-us", variant, "", *numbers)


def sentences(split: str) -> list[tuple[str, list[str], list[str]]]:
    """(kind, words, the same with $NAME for each name) of the utterances of a split.

    Of training one half, of dev and test three in four have names; the kind is "new" where one of
    them is a name of the split's own, that training never has, "old" for others, or "none".
    """
    rng, own, known = random.Random(f"names:{split}"), names()[split], names()["train"]
    ordinary = (HERE / "words.txt").read_text().split()
    kinds = ("none", "old") if split == "train" else ("none", "new", "new", "old")
    made = []
    for number in range(SIZES[split]):
        kind = kinds[number % len(kinds)]
        if kind == "none":
            said = rng.sample(ordinary, rng.randint(3, 6))
            made.append((kind, said, said))
            continue
        classed = [
            {"<>": rng.choice(ordinary), "{}": "$NAME"}.get(word, word)
            for word in rng.choice(TEMPLATES).split()
        ]
        said = [rng.choice(known) if word == "$NAME" else word for word in classed]
        if kind == "new":
            places = [place for place, word in enumerate(classed) if word == "$NAME"]
            said[rng.choice(places)] = rng.choice(own)
        made.append((kind, said, classed))
    return made


def utterances() -> dict[str, list[Utterance]]:
    """The whole corpus; no speaker is in two splits."""
    corpus = {}
    for split, variants in VARIANTS.items():
        speakers = [voice(variant) for variant in variants.split()]
        rng = random.Random(f"speakers:{split}")
        corpus[split] = [
            Utterance(
                f"{split}-{number:04d}", split, (tuple(said),), rng.choice(speakers), {"kind": kind}
            )
            for number, (kind, said, _) in enumerate(sentences(split))
        ]
    return corpus


def write_texts(out: Path) -> None:
    """lexicon.txt; class.txt, the training text with $NAME; the names, with pronunciations."""
    out.mkdir(parents=True, exist_ok=True)
    parts = names()
    spoken = pronounce([*words(), *(name for some in parts.values() for name in some)])
    entries = {word: " ".join((word, *(PHONES[phone] for phone in said))) for word, said in spoken}

    def write(name: str, some: list[str]) -> None:
        (out / name).write_text("".join(f"{entries[word]}\n" for word in some))

    write("lexicon.txt", sorted({*words(), *parts["train"]}))
    classed = (" ".join(line) for _, _, line in sentences("train"))
    (out / "class.txt").write_text("".join(f"{line}\n" for line in classed))
    for part, some in parts.items():
        write(f"names_{part}.txt", some)


def studio() -> Acoustics:
    """What records utterances in one process; others read the ordinary words in the background."""
    speakers = [voice(variant) for variant in VARIANTS["train"].split()[::4]]
    ordinary = (HERE / "words.txt").read_text().split()
    crowd = [(one, [ordinary[n :: len(speakers)][:12]]) for n, one in enumerate(speakers)]
    return Acoustics(Speaker(), SAMPLING_RATE, crowd)


def main() -> None:
    args = options(__doc__)
    corpus, splits = args.download / "names", utterances()
    scripts = [HERE / name for name in ("corpus.py", "names.txt", "words.txt")]
    make_audio(corpus, splits, studio, SAMPLING_RATE, scripts, args.nj)
    write_manifests(corpus, splits, args.out)
    write_texts(args.out)


if __name__ == "__main__":
    main()
