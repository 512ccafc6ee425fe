"""Find keywords in an audio file with a packed CTC model, each with its time and score."""

from __future__ import annotations

import json
from pathlib import Path

from neve.errors import NeveError


def add_arguments(parser) -> None:
    """FILE, --model, --keywords, --threshold."""
    add = parser.add_argument
    add("file", metavar="FILE", help="audio: wav, flac, ogg, mp3, SPHERE; any sampling rate")
    add("--model", required=True, metavar="DIR", help="what `neve pack` made")
    add(
        "--keywords",
        required=True,
        metavar="FILE",
        help="a word or phrase on each line and, after a tab, perhaps its own threshold",
    )
    add("--threshold", type=float, default=0.5, metavar="X", help="score, 0 to 1 (%(default)s)")
    add("--channel", type=int, help="the channel to use (default: their mean)")
    add("--json", action="store_true", help="print a line of JSON for each detection")


def run_alone(args, overrides) -> None:
    """Print start, end (s), score and keyword of each detection, in the order of their ends."""
    if not Path(args.file).exists():
        raise NeveError(f"{args.file}: there is no such audio file")
    from neve.transcribe.spot import spot_keywords

    found = spot_keywords(
        args.file, args.model, args.keywords, args.threshold, args.channel, overrides
    )
    for start, end, score, keyword in found:
        if args.json:
            row = {"start": round(start, 3), "end": round(end, 3), "score": round(score, 4)}
            print(json.dumps({**row, "keyword": keyword}, ensure_ascii=False))
        else:
            print(f"{start:8.2f} {end:8.2f}  {score:.3f}  {keyword}")
