"""Transcribe an audio file with a packed model."""

from __future__ import annotations

import json
from pathlib import Path

from neve.errors import NeveError


def add_arguments(parser) -> None:
    """FILE and --model."""
    add = parser.add_argument
    add("file", metavar="FILE", help="audio: wav, flac, ogg, mp3, SPHERE; any sampling rate")
    add("--model", required=True, metavar="DIR", help="what `neve pack` made")
    add("--channel", type=int, help="the channel to use (default: their mean)")
    add("--json", action="store_true", help="print JSON with the times of the words")


def run_alone(args, overrides) -> None:
    """Print the text; `--decoding.KEY VALUE` changes the model's decoding settings."""
    if not Path(args.file).exists():  # before the seconds that torch takes
        raise NeveError(f"{args.file}: there is no such audio file")
    if not (Path(args.model) / "model.yaml").exists():
        raise NeveError(
            f"{args.model}: is not a model directory (there is no model.yaml in it); "
            "`neve pack`, stage 9 of a recipe, makes one"
        )
    from neve.transcribe import Transcriber

    transcript = Transcriber(args.model, overrides)(args.file, args.channel)
    if args.json:
        print(json.dumps(transcript.to_dict(), ensure_ascii=False))
    else:
        print(transcript.text)
