"""Find when each word and token of a known text was said; cut long recordings by their text."""

from __future__ import annotations

import logging
from pathlib import Path

from neve.errors import ConfigError, NeveError

log = logging.getLogger(__name__)

USES = ("tag", "paths", "decoding.checkpoint", "decoding.device", "decoding.threads",
        "decoding.chunk_size", "decoding.left_context", "decoding.max_duration")  # fmt: skip


def add_arguments(parser) -> None:
    """What is aligned (--split, --cuts or --audio), --model, --out and --format."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--split", action="append", metavar="NAME",
        help="align the utterances of a split, cuts_NAME.jsonl.gz in paths.fbank; several times "
        "for several",
    )  # fmt: skip
    what.add_argument("--cuts", metavar="FILE", help="align cuts with features (jsonl.gz)")
    what.add_argument("--audio", metavar="FILE", help="align an audio file with --text")
    add("--text", metavar="FILE", help="what is said in --audio")
    add("--channel", type=int, help="the channel of --audio to use (default: their mean)")
    add(
        "--segment", action="store_true",
        help="cut a long --audio, whose --text may have errors, into pieces whose text is right",
    )  # fmt: skip
    for name, (default, unit, meaning) in SEGMENT_OPTIONS.items():
        meaning += " (%(default)s)"
        add(f"--{name}", type=float, default=default, metavar=unit, help=meaning)
    add("--model", metavar="DIR", help="what `neve pack` made (default: the experiment paths.exp)")
    add("--out", metavar="DIR", help="where to write (default: align_NAME in paths.exp)")
    add(
        "--format", action="append", choices=("cuts", "ctm", "textgrid"),
        help="cuts: Lhotse cuts with alignments; ctm: Kaldi's; textgrid: Praat's; several times "
        "for several (default: all)",
    )  # fmt: skip


SEGMENT_OPTIONS = {
    "shortest": (2.0, "S", "--segment: seconds of a piece at least"),
    "longest": (20.0, "S", "--segment: seconds of a piece at most"),
    "pause": (0.2, "S", "--segment: seconds without a word where a cut may be"),
    "pad": (0.3, "S", "--segment: seconds kept around the words of a piece"),
    "agreement": (1.0, "X", "--segment: share of a piece's text that must have been heard"),
}


def run(config, args) -> None:
    """Write alignments, and the list of utterances that were skipped, into directories."""
    if not (args.split or args.cuts or args.audio):
        raise ConfigError("say what to align: --split NAME, --cuts FILE, or --audio with --text")
    if bool(args.audio) != bool(args.text):
        raise ConfigError("--audio and --text go together: what is said in the file is aligned")
    if (args.audio or args.cuts or args.model) and not args.out:
        raise ConfigError("--out DIR: say where to write")
    if args.out and args.split and len(args.split) > 1:
        raise ConfigError("--out is one directory: give one --split, or leave it out")
    if args.segment and not args.audio:
        raise ConfigError("--segment is for --audio: splits and cuts are pieces already")
    for path in (args.audio, args.text, args.cuts):
        if path and not Path(path).exists():
            raise NeveError(f"{path}: there is no such file")
    method = load_method(config, args.model)
    formats = args.format or ("cuts", "ctm", "textgrid")
    if args.audio:
        align_audio(config, args, method, formats)
        return
    from neve.cli.main import require_inputs
    from neve.data import AugmentConfig, Loader
    from neve.decoding.align_corpus import align_set

    files = {
        split: Path(config.paths.fbank) / f"cuts_{split}.jsonl.gz" for split in args.split or ()
    }
    require_inputs(files.values(), config)
    for name, file in (files or {"": Path(args.cuts)}).items():
        out = Path(args.out or Path(config.paths.exp) / f"align_{name}")
        config.data.max_duration = config.decoding.max_duration
        batches = Loader([file], config.data, AugmentConfig(), training=False)
        told(out, *align_set(method, batches, out, formats))


def told(out: Path, done: int, skipped: int) -> None:
    """Say how many utterances were aligned."""
    more = f", {skipped} skipped: see {out / 'skipped.jsonl'}" if skipped else ""
    log.info("%s: %d utterances aligned%s", out, done, more)


def load_method(config, model: str | None):
    """The CTC outputs of the packed model, or of the experiment."""
    from neve.cli.decode import ctc_lang_path
    from neve.cli.main import require_inputs
    from neve.decoding.align_corpus import METHOD, experiment_method

    if model:
        from neve.decoding import load_packed

        return load_packed(model, [("decoding.method", METHOD)]).recognizer.method
    paths = config.paths
    weights = Path(paths.exp) / config.decoding.checkpoint
    require_inputs([weights, paths.lang], config)
    return experiment_method(config, Path(paths.lang), Path(paths.exp), ctc_lang_path(config))


def align_audio(config, args, method, formats) -> None:
    """An audio file and its text: as a whole, or cut into pieces."""
    from neve.decoding.align_corpus import align_set
    from neve.frontend import Frontend
    from neve.transcribe.align import recording_batch

    out = Path(args.out)
    frontend = Frontend.load(args.model or config.paths.fbank)
    try:
        words = method.lang.normal(Path(args.text).read_text(encoding="utf-8")).split()
    except UnicodeDecodeError as error:
        raise NeveError(f"{args.text}: is not UTF-8 text ({error})") from None
    if not args.segment:
        batch = recording_batch(args.audio, " ".join(words), frontend, args.channel)
        told(out, *align_set(method, [batch], out, formats))
        return
    from neve.decoding.segmentation import SegmentConfig
    from neve.transcribe.segment import (
        LongRecording,
        segment_batches,
        segment_recording,
        write_report,
    )

    options = {name: getattr(args, name) for name in SEGMENT_OPTIONS}
    recording = LongRecording(args.audio, args.channel)
    pieces = segment_recording(recording, words, method, frontend, SegmentConfig(**options))
    told(out, *align_set(method, segment_batches(recording, pieces, frontend), out, formats))
    summary = write_report(out, recording, words, pieces)
    log.info(
        "%s: %d of %d words are in %d pieces, %.0f of %.0f s; what was left out: %s",
        args.audio,
        summary["segment_words"],
        summary["words"],
        summary["segments"],
        summary["segment_seconds"],
        summary["seconds"],
        out / "left_out.jsonl",
    )
