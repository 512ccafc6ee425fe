#!/usr/bin/env python3
"""Stage 1 for AISHELL-1: recordings and supervisions of train, dev and test, and two lexicons.

Lhotse prepares download/data_aishell.  A space is put between all characters, each of which is a
word here.  characters.txt is a lexicon in which every character of the training transcripts is
its own unit; lexicon.txt has the readings (initial, final and tone) of single characters in
resource_aishell/lexicon.txt.  The speaker's sex comes from resource_aishell/speaker.info.
"""

from neve.data import script_main, write_source
from neve.data.manifests import use_libsndfile
from neve.errors import NeveError

TRANSCRIPT = "data_aishell/transcript/aishell_transcript_v0.8.txt"


def prepare(download, out):
    """Write recordings_, supervisions_<train|dev|test>.jsonl.gz and the lexicons to `out`."""
    from lhotse.recipes.aishell import prepare_aishell

    names = read_names(download / TRANSCRIPT)
    sexes = read_sexes(download / "resource_aishell/speaker.info")
    use_libsndfile()
    splits = prepare_aishell(download)
    found = {item.id for manifests in splits.values() for item in manifests["supervisions"]}
    if absent := sorted(names - found):
        raise NeveError(
            f"{download / TRANSCRIPT}: {absent[0]} and {len(absent) - 1} other utterances have no "
            f"audio in {download}/data_aishell/wav; remove {download}/data_aishell and fetch it "
            "again (stage 0)"
        )
    characters = set()
    for split, manifests in splits.items():
        supervisions = sorted(manifests["supervisions"], key=lambda item: item.id)
        for item in supervisions:
            if split == "train":
                characters.update(item.text)
            item.text = " ".join(item.text)
            item.gender = sexes.get(item.speaker.lstrip("S"))
        recordings = sorted(manifests["recordings"], key=lambda item: item.id)
        write_source(split, recordings, supervisions, out)
    write_lexicon(out / "characters.txt", [(mark, mark) for mark in characters])
    write_lexicon(out / "lexicon.txt", read_readings(download / "resource_aishell/lexicon.txt"))


def read_names(path):
    """The utterances in a file of lines `utterance WORD WORD ...`."""
    names = set()
    for number, line in enumerate(lines_of(path), 1):
        name, *words = line.split() or [""]
        if not words:
            raise NeveError(f"{path}:{number}: not of the form `utterance WORD WORD ...`")
        names.add(name)
    return names


def read_sexes(path):
    """{speaker, without the S: female or male} from lines `0002 F`."""
    speakers = (line.split()[:2] for line in lines_of(path) if len(line.split()) > 1)
    return {name.lstrip("S"): {"F": "female", "M": "male"}.get(sex) for name, sex in speakers}


def read_readings(path):
    """(character, initial and final) for each reading of single characters: `BA b a1`."""
    readings = set()
    for line in lines_of(path):
        word, *phones = line.split() or [""]
        if len(word) == 1 and phones:
            readings.add((word, " ".join(phones)))
    if not readings:
        raise NeveError(f"{path}: has no readings of single characters; fetch it again (stage 0)")
    return readings


def write_lexicon(path, entries):
    """Write (word, phones) as lines `word phone phone ...`, sorted."""
    path.write_text("".join(f"{word} {phones}\n" for word, phones in sorted(entries)), "utf-8")


def lines_of(path):
    """The lines of a text file of the corpus."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NeveError(f"{path} is missing; run stage 0") from None


if __name__ == "__main__":
    script_main(__doc__, prepare)
