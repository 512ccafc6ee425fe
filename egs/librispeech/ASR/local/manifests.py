#!/usr/bin/env python3
"""Stage 1 for LibriSpeech and Mini LibriSpeech: recordings and supervisions of every part.

The parts below download/LibriSpeech are prepared by Lhotse.  Lhotse leaves out utterances whose
audio is not there; here that is an error.  To each supervision comes the reader's sex, from
SPEAKERS.TXT, where that file is.
"""

import os

from neve.data import script_main, write_source
from neve.data.manifests import use_libsndfile
from neve.errors import NeveError


def prepare(download, out):
    """Write recordings_ and supervisions_<part>.jsonl.gz to `out`."""
    from lhotse.recipes.librispeech import prepare_librispeech

    corpus = download / "LibriSpeech"
    texts = {part.name: read_texts(part) for part in sorted(corpus.glob("*-*"))}
    texts = {part: files for part, files in texts.items() if files}
    if not texts:
        raise NeveError(f"{corpus} has no parts with transcripts (*.trans.txt); run stage 0")
    sexes = read_sexes(corpus / "SPEAKERS.TXT")
    use_libsndfile()
    prepared = prepare_librispeech(
        corpus, dataset_parts=list(texts), num_jobs=min(os.cpu_count() or 1, 8)
    )
    for part, manifests in prepared.items():
        supervisions = sorted(manifests["supervisions"], key=lambda item: item.id)
        absent = sorted(set(texts[part]) - {item.id for item in supervisions})
        if absent:
            raise NeveError(
                f"{texts[part][absent[0]]}: {absent[0]} has no audio that can be read beside it, "
                f"nor have {len(absent) - 1} other utterances of {part}; remove {corpus / part} "
                "and fetch it again (stage 0)"
            )
        for item in supervisions:
            item.gender = sexes.get(item.speaker)
        recordings = sorted(manifests["recordings"], key=lambda item: item.id)
        write_source(part, recordings, supervisions, out)


def read_texts(part):
    """{utterance: its file of transcripts} of a part: lines `speaker-chapter-number WORD ...`."""
    texts = {}
    for path in sorted(part.glob("*/*/*.trans.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            name, _, words = line.partition(" ")
            if name.count("-") != 2 or not words.strip():
                raise NeveError(f"{path}:{number}: not of the form `1-2-0003 WORD ...`")
            texts[name] = path
    return texts


def read_sexes(path):
    """{reader: female or male} from lines `14 | F | part | minutes | name`; {} without the file."""
    sexes = {}
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.startswith(";") and line.strip():
                fields = [field.strip() for field in line.split("|")]
                if len(fields) < 5 or fields[1] not in ("F", "M"):
                    raise NeveError(f"{path}:{number}: not of the form `14 | F | part | 9.9 | `")
                sexes[fields[0]] = {"F": "female", "M": "male"}[fields[1]]
    return sexes


if __name__ == "__main__":
    script_main(__doc__, prepare)
