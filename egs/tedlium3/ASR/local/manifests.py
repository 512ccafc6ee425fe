#!/usr/bin/env python3
"""Stage 1 for TED-LIUM 3: recordings and supervisions of train, dev and test, and lexicon.txt.

Lhotse prepares the "legacy" distribution, whose dev and test sets are those of TED-LIUM 2, with
the text normalised as in Kaldi's recipe: what is no word (<unk>, [NOISE]) goes, and endings are
joined to their words ("they 're").  A talk is a recording and a speaker; its segments are
utterances.  The speaker's sex is in the STM files of dev and test alone.
"""

import os
import re

from neve.data import script_main, write_source
from neve.data.manifests import use_libsndfile
from neve.errors import NeveError

DICTIONARY = "TEDLIUM.152k.dic"
SEX = re.compile(r"<[^>]*\b(female|male)>")  # the label of a segment, as in <o,f0,female>


def prepare(download, out):
    """Write recordings_, supervisions_<train|dev|test>.jsonl.gz and lexicon.txt to `out`."""
    from lhotse.recipes.tedlium import prepare_tedlium

    corpus = download / "TEDLIUM_release-3"
    talks = {split: read_talks(corpus / "legacy" / split) for split in ("train", "dev", "test")}
    use_libsndfile()
    prepared = prepare_tedlium(
        corpus, normalize_text="kaldi", num_jobs=min(os.cpu_count() or 1, 8)
    )
    for split, manifests in prepared.items():
        supervisions = sorted(
            manifests["supervisions"], key=lambda item: (item.recording_id, item.start)
        )
        for item in supervisions:
            item.gender = talks[split].get(item.recording_id)
        recordings = sorted(manifests["recordings"], key=lambda item: item.id)
        write_source(split, recordings, supervisions, out)
    write_lexicon(out / "lexicon.txt", corpus / DICTIONARY)


def read_talks(folder):
    """{talk: female, male or None} of a split, whose STM and SPHERE files belong together."""
    texts = sorted(folder.glob("stm/*.stm"))
    if not texts:
        raise NeveError(f"{folder}/stm has no transcripts (*.stm); run stage 0")
    audio = {path.stem for path in folder.glob("sph/*.sph")}
    if odd := sorted(audio ^ {path.stem for path in texts}):
        raise NeveError(
            f"{folder}: {odd[0]} and {len(odd) - 1} other talks are not both in sph/ and in stm/; "
            "fetch the corpus again (stage 0)"
        )
    talks = {}
    for path in texts:
        talks[path.stem] = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                start, end, label = line.split()[3:6]
                float(start), float(end)
            except ValueError:
                raise NeveError(
                    f"{path}:{number}: not of the form `talk 1 speaker start end <label> WORD ...`"
                ) from None
            if match := SEX.fullmatch(label):
                talks[path.stem] = match[1]
    return talks


def write_lexicon(path, dictionary):
    """Write the pronunciations of a Sphinx dictionary, where word(2) is another one of word."""
    try:
        lines = dictionary.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NeveError(f"{dictionary} is missing; fetch the corpus again (stage 0)") from None
    entries = {}
    for number, line in enumerate(lines, 1):
        word, *phones = line.split() or [""]
        if word and not phones:
            raise NeveError(f"{dictionary}:{number}: no phones for {word}; fetch the corpus again")
        if word:
            entries[f"{re.sub(r'[(][0-9]+[)]$', '', word)} {' '.join(phones)}\n"] = None
    path.write_text("".join(entries), encoding="utf-8")


if __name__ == "__main__":
    script_main(__doc__, prepare)
