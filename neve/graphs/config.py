"""The `graph` section of the configuration: which decoding graph is built."""

import dataclasses

from neve.config import option


@dataclasses.dataclass
class GraphConfig:
    kind: str = option(
        "HLG",
        "HLG: lexicon and n-gram; HL: lexicon alone, all words equally likely; "
        "H: tokens alone, without a lexicon; LG: HLG without the topology of CTC, over the tokens "
        "of a transducer (paths.lang), for fast-beam",
        choices=("HLG", "HL", "H", "LG"),
    )
    topology: str = option(
        "standard",
        "CTC topology; modified lets a repeated token follow itself without a blank between, "
        "and mostly makes a smaller graph",
        choices=("standard", "modified"),
    )
    lm_scale: float = option(1.0, "G's scores are multiplied by this when the graph is built")
    unk_score: float = option(
        0.0,
        "with lang.unk_model: added to the score of each unknown word; more finds more of them",
    )
    classes: str = option(
        "",
        "directory of the lists of classes: class_name.txt has the phrases that $NAME stands for "
        "in lm.arpa, each perhaps with a weight; G is then made of lm.arpa",
    )
    grammar: str = option(
        "", "a grammar (JSGF, or rules one a line) that takes the place of the n-gram G"
    )
    add_words: str = option(
        "",
        "list of words and phrases to add to the finished lang directory and G: WORD, WORD PHONE "
        "PHONE ..., or a phrase on each line. Lang directory and graph get names of their own",
    )
    add_words_prob: str = option(
        "unk",
        "how likely an added word or phrase is: a probability; unk: as the unknown word; a word: "
        "wherever that stands; $CLASS: as an entry of the class; 0: only pronunciations are added",
    )
    g2p: str = option(
        "",
        "a model of pronunciations (neve g2p --model) for added words without any; empty: one is "
        "trained on the lexicon of the lang directory",
    )
    g2p_variants: int = option(1, "how many pronunciations an added word gets from the model")
