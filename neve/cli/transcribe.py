"""Transcribe an audio file with a packed model."""

from __future__ import annotations

import json


def add_arguments(parser) -> None:
    """FILE and --model."""
    add = parser.add_argument
    add("file", metavar="FILE", help="audio: wav, flac, ogg, mp3, SPHERE; any sampling rate")
    add("--model", required=True, metavar="DIR", help="what `neve pack` made")
    add("--channel", type=int, help="the channel to use (default: their mean)")
    add("--json", action="store_true", help="print JSON with the times of the words")


def run_alone(args, overrides) -> None:
    """Print the text; `--decoding.KEY VALUE` changes the model's decoding settings."""
    from neve.transcribe import Transcriber

    transcript = Transcriber(args.model, overrides)(args.file, args.channel)
    if args.json:
        print(json.dumps(transcript.to_dict(), ensure_ascii=False))
    else:
        print(transcript.text)
