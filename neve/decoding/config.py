"""How hypotheses are searched for: the keys of the `decoding` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option
from neve.errors import ConfigError

# Methods that search a graph of stage 5, and those that need its G beside it.
GRAPH_METHODS = (
    "graph",
    "1best",
    "nbest",
    "nbest-oracle",
    "lattice-oracle",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "mbr",
    "neural-rescoring",
    "attention-rescoring",
)
RESCORING_METHODS = ("nbest-rescoring", "whole-lattice-rescoring")
# Methods of a transducer with a lattice.
FAST_BEAM_METHODS = (
    "fast-beam",
    "fast-beam-nbest",
    "fast-beam-nbest-oracle",
    "fast-beam-rescoring",
)
# Searches of a transducer that take language models with them, and those that rescore their lists.
FUSION_METHODS = ("greedy", "modified-beam", "beam")
LIST_RESCORING_METHODS = ("modified-beam-rescoring", "beam-rescoring", "fast-beam-rescoring")
# The keys that name language models, and the methods that have a use for them.
LM_METHODS = {
    "rescore_lm": (*RESCORING_METHODS, *LIST_RESCORING_METHODS),
    "neural_lm": ("neural-rescoring", *FUSION_METHODS, *LIST_RESCORING_METHODS),
    "token_lm": (*FUSION_METHODS, *LIST_RESCORING_METHODS),
}
# name of a scale -> key of its candidates; those that only a second pass heeds come last
CANDIDATES = {
    "acoustic_scale": "acoustic_scales",
    "word_score": "word_scores",
    "blank_penalty": "blank_penalties",
    "history_scale": "history_scales",
    "phrase_boost": "phrase_boosts",
    "ilm_scale": "ilm_scales",
    "lm_scale": "lm_scales",
    "lodr_scale": "lodr_scales",
}


@dataclass
class DecodingConfig:
    name: str = option("hlg", "names the directory of this decoding: decode_<name>")
    method: str = option(
        "graph",
        "of CTC models and of transducers with a CTC head: graph, the best path through the "
        "decoding graph; ctc-greedy, the best token of each frame; ctc-prefix-beam, the most "
        "probable tokens. Of transducers: greedy; modified-beam, a token at most in each frame; "
        "beam, any number of them, slow; modified-beam-rescoring and beam-rescoring, their n-best "
        "lists with neural_lm, token_lm or rescore_lm. For a CTC model greedy is ctc-greedy. With "
        "a lattice, of CTC: ctc-lattice, tokens alone; 1best, its best path; nbest, the best words "
        "of sampled paths; nbest-oracle and lattice-oracle, those nearest to the reference; "
        "nbest-rescoring and whole-lattice-rescoring, with a larger n-gram; mbr, the least "
        "expected word errors; neural-rescoring and attention-rescoring, the n-best list with a "
        "neural LM, or with the model's attention decoder. With a lattice, of transducers: "
        "fast-beam, the best path of tokens, or of words of the graph LG (fast_beam_graph), a "
        "token at most in each frame; fast-beam-nbest, the best of sampled paths, all alignments "
        "summed; fast-beam-nbest-oracle, that nearest to the reference; fast-beam-rescoring, their "
        "list with neural_lm, token_lm or rescore_lm",
        choices=(
            "ctc-greedy",
            "ctc-prefix-beam",
            "greedy",
            "modified-beam",
            "beam",
            "modified-beam-rescoring",
            "beam-rescoring",
            "ctc-lattice",
            *GRAPH_METHODS,
            *FAST_BEAM_METHODS,
        ),
    )
    splits: list[str] = option([], "splits to decode; empty: those of data.dev and data.test")
    checkpoint: str = option("averaged.pt", "weights, a file in the experiment's directory")
    search_beam: float = option(20.0, "states this much worse than the best are given up")
    min_active: int = option(30, "states that the beam tries to keep at least in each frame")
    max_active: int = option(10000, "states that the beam tries to keep at most in each frame")
    allow_partial: bool = option(
        True, "give the best unfinished path where none ends in a final state"
    )
    output_beam: float = option(8.0, "paths this much worse than the best are not in the lattice")
    num_paths: int = option(100, "paths that are sampled from a lattice for its n-best list")
    nbest_scale: float = option(
        0.5, "scores are multiplied by this when paths are sampled: less gives more variety"
    )
    posterior_scale: float = option(
        0.5, "scores are multiplied by this before mbr counts votes: less makes it less sure"
    )
    fast_beam_graph: str = option(
        "trivial",
        "what the fast-beam methods search along: trivial, any tokens; LG, the words of the graph "
        "of graph.kind LG, whose scores are multiplied by lm_scales",
        choices=("trivial", "LG"),
    )
    max_states: int = option(64, "states that the fast-beam methods keep at most in each frame")
    max_contexts: int = option(
        8,
        "different endings of hypotheses, of as many tokens as the predictor sees, that the "
        "fast-beam methods keep at most in each frame; each may have several states",
    )
    rescore_lm: str = option(
        "",
        "an n-gram of words, an ARPA file (.arpa, .gz) or a G.fst.txt: the larger one of "
        "nbest-rescoring and whole-lattice-rescoring, or what rescores a transducer's lists",
    )
    lm_scales: list[float] = option(
        [1.0],
        "weights of rescore_lm, whose scores take the place of those of the graph's own G, of the "
        "graph LG of fast-beam, or of neural_lm, token_lm, the attention decoder or a transducer's "
        "rescore_lm, whose scores are added; of several, chosen on the dev sets likewise",
    )
    neural_lm: str = option(
        "",
        "the model directory of `neve train-lm`: for neural-rescoring and the rescoring of a "
        "transducer's lists, or, over a transducer's tokens, for greedy, modified-beam and beam, "
        "which add its scores in the search",
    )
    token_lm: str = option(
        "",
        "an n-gram over a transducer's tokens, the ARPA file of `neve lm --lm.unit tokens`: for "
        "the methods of a transducer, alone (lm_scales) or beside neural_lm or rescore_lm "
        "(lodr_scales)",
    )
    lodr_scales: list[float] = option(
        [-0.1],
        "weights of token_lm beside neural_lm or rescore_lm; negative ones take off what the "
        "transducer has learnt of its training text (LODR); of several, chosen on the dev sets "
        "likewise",
    )
    ilm_scales: list[float] = option(
        [0.0],
        "weights of what a transducer says of tokens without having heard anything, in a search "
        "with neural_lm or token_lm; negative ones take it off; of several, chosen on the dev sets "
        "likewise",
    )
    phrases: str = option(
        "",
        "a file of phrases that all methods but fast-beam favour as they search, in the form of "
        "the transcripts, one a line, perhaps with a tab and its own boost",
    )
    phrase_boosts: list[float] = option(
        [1.0],
        "added to the score for each word (methods with a graph) or token (others) of a phrase of "
        "the list that has no boost of its own; of several, chosen on the dev sets likewise",
    )
    acoustic_scales: list[float] = option(
        [1.0],
        "weights of the log-probabilities against the graph; of several, the one with the fewest "
        "errors on the dev sets is used for all sets",
    )
    word_scores: list[float] = option(
        [0.0], "added to the score for each word; of several, chosen on the dev sets likewise"
    )
    scales_of: str = option(
        "",
        "the decoding.name of another decoding of this training, whose acoustic_scale, word_score, "
        "blank_penalty and history_scale are taken, those that its method heeds; others are as "
        "said here",
    )
    beam: int = option(
        4,
        "hypotheses that ctc-prefix-beam, modified-beam, beam and their rescoring keep in each "
        "frame, and end with",
    )
    blank_penalties: list[float] = option(
        [0.0],
        "taken from a transducer's logit of blank, or CTC's log-probability of it: more makes "
        "hypotheses longer; of several, chosen on the dev sets likewise",
    )
    history_scales: list[float] = option(
        [1.0],
        "weight of what a transducer says after what was said before, against what it says of the "
        "audio alone; below 1 words said twice are found sooner; needs model.history_dropout; of "
        "several, chosen on the dev sets likewise",
    )
    temperature: float = option(1.0, "a transducer's logits are divided by this")
    max_symbols: int = option(1, "tokens that greedy takes at most in a frame of a transducer")
    length_norm: bool = option(
        True,
        "modified-beam, beam and their rescoring order the hypotheses that they end with by score "
        "/ (tokens + 1), and not by score",
    )
    nbest: int = option(1, "hypotheses of an utterance in the results, at most")
    chunk_size: int = option(
        0,
        "frames (50 a second) of the chunks in which a causal Zipformer sees an utterance, as it "
        "would live; 0: the whole utterance at once",
    )
    left_context: int = option(
        0, "frames before a chunk that it attends to, whole chunks; 0: all of them"
    )
    max_duration: float = option(600.0, "most seconds of audio in a batch, padding included")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(0, "processor threads of the search and of torch; 0 takes all there are")


def searches_graph(config: DecodingConfig) -> bool:
    """Whether the method searches a graph of stage 5."""
    if config.method in FAST_BEAM_METHODS:
        return config.fast_beam_graph == "LG"
    return config.method in GRAPH_METHODS


def refuse_idle_lms(config: DecodingConfig, method: str = "") -> None:
    """ConfigError for language models, or scales of them, that `method` has no use for.

    method: that of `config`, if it is not given.
    """
    method = method or config.method
    for key, methods in LM_METHODS.items():
        if getattr(config, key) and method not in methods:
            raise ConfigError(
                f"decoding.{key}: method {method} has no use for it; those that have are "
                f"{', '.join(methods)}"
            )
    if config.rescore_lm and config.neural_lm:
        raise ConfigError(
            "decoding.rescore_lm and neural_lm would have one weight, lm_scales; give one of them"
        )
    plain = DecodingConfig()
    beside = config.neural_lm or config.rescore_lm
    if config.lodr_scales != plain.lodr_scales and not (config.token_lm and beside):
        raise ConfigError(
            "decoding.lodr_scales: they weigh decoding.token_lm beside another language model, "
            "decoding.neural_lm or rescore_lm, and one of the two is not given; the weights of a "
            "single one are lm_scales"
        )
    fused = method in FUSION_METHODS and (config.neural_lm or config.token_lm)
    if config.ilm_scales != plain.ilm_scales and not fused:
        raise ConfigError(
            f"decoding.ilm_scales: method {method} has no use for them here; they are for "
            f"{', '.join(FUSION_METHODS)}, with decoding.neural_lm or decoding.token_lm"
        )
