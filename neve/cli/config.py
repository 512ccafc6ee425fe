"""Check the whole configuration and print it.

The root configuration is here: the sections of all rooms, and the paths between the stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from neve.cli.main import load_config
from neve.config import option, to_dict
from neve.data.config import AugmentConfig, DataConfig
from neve.decoding.config import DecodingConfig
from neve.frontend.config import FeatureConfig
from neve.graphs.config import GraphConfig
from neve.lang.config import LangConfig
from neve.lm.config import LmConfig
from neve.models.config import ModelConfig
from neve.scoring.config import ScoringConfig
from neve.tasks.config import LossConfig
from neve.tasks.lm_config import NeuralLmConfig
from neve.text.config import TextConfig
from neve.training.config import TrainingConfig


@dataclass
class PathsConfig:
    download: str = option("download", "stage 0: the corpus as its owner gives it")
    data: str = option("data", "what stages 1 to 5 make")
    manifests: str = option(
        "${paths.data}/manifests", "stage 1: Lhotse manifests and the data report"
    )
    fbank: str = option("${paths.data}/fbank", "stage 2: features")
    lang: str = option("${paths.data}/lang_${lang.name}", "stage 3: lang directory")
    ctc_lang: str = option(
        "${paths.lang}",
        "stage 3: lang directory of a transducer's CTC head. Another than `lang` is made as section"
        " ctc_lang says; LM and graph are made of it",
    )
    lm: str = option("${paths.data}/lm/${lm.order}gram_${lang.name}", "stage 4: n-gram LM and G")
    token_lm: str = option(
        "${paths.data}/lm/${lm.order}gram_tokens_${lang.name}",
        "stage 4, with lm.unit tokens: the n-gram LM of the tokens of `lang`",
    )
    neural_lm: str = option(
        "${paths.data}/lm/${neural_lm.model.kind}_${lang.name}-seed${neural_lm.training.seed}",
        "the training of a neural LM; its model directory is in it",
    )
    graph: str = option("${paths.data}/graphs/${lang.name}_${lm.order}gram", "stage 5: HLG")
    experiments: str = option("exp", "all experiments, and the log of decodings")
    exp: str = option(
        "${paths.experiments}/${tag}-seed${training.seed}", "stage 6: one training run"
    )
    decode: str = option("${paths.exp}/decode_${decoding.name}", "stage 7: decoding results")
    report: str = option("${paths.exp}/report_${decoding.name}", "stage 8: scores and report")
    results: str = option("RESULTS.md", "stage 8: the page of all experiments' results")
    model: str = option("${paths.exp}/model", "stage 9: the model directory that stands alone")


@dataclass
class Config:
    tag: str = option("ctc", "name of the experiment: its directory is <tag>-seed<seed>")
    title: str = option("Results", "heading of RESULTS.md")
    paths: PathsConfig = option(PathsConfig, "where the stages read and write")
    data: DataConfig = option(DataConfig, "the corpus, and how batches are made of it")
    features: FeatureConfig = option(FeatureConfig, "features")
    augment: AugmentConfig = option(AugmentConfig, "augmentation")
    text: TextConfig = option(TextConfig, "normalisation of text")
    lang: LangConfig = option(LangConfig, "tokens and lexicon")
    ctc_lang: LangConfig = option(
        LangConfig, "tokens and lexicon of the CTC head, if paths.ctc_lang is not paths.lang"
    )
    lm: LmConfig = option(LmConfig, "n-gram language model")
    neural_lm: NeuralLmConfig = option(NeuralLmConfig, "neural language model")
    graph: GraphConfig = option(GraphConfig, "decoding graph")
    model: ModelConfig = option(ModelConfig, "acoustic model")
    training: TrainingConfig = option(TrainingConfig, "training")
    loss: LossConfig = option(LossConfig, "what training minimises")
    decoding: DecodingConfig = option(DecodingConfig, "decoding")
    scoring: ScoringConfig = option(ScoringConfig, "scoring")


# -- the verb ------------------------------------------------------------------------------------

USES = tuple(Config.__dataclass_fields__)


def add_arguments(parser) -> None:
    """`neve config --check` says only what is wrong."""
    add = parser.add_argument
    add("--check", action="store_true", help="check only, print nothing")
    add(
        "--each",
        action="append",
        default=[],
        metavar="FILE",
        help="check also what the configuration becomes with this file of keys; several are each "
        "checked alone",
    )


def run(config: Config, args) -> None:
    """Print the configuration that the files and the command line make."""
    for file in args.each:
        load_config(args.config, args.overrides, [file])
    if not args.check:
        print(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), end="")
