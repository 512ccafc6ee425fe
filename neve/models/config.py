"""What the model is made of: the keys of the `model` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class ZipformerConfig:
    """Lists take one number for each stack, or one for all stacks."""

    encoder_dims: list[int] = option([128, 144, 160, 144], "widths of the stacks")
    num_encoder_layers: list[int] = option([1, 2, 2, 1], "layers of each stack")
    downsampling_factors: list[int] = option(
        [1, 2, 4, 2], "how many times slower than 50 frames a second each stack works"
    )
    feedforward_dims: list[int] = option(
        [256, 384, 512, 384], "hidden widths of the feed-forward modules"
    )
    num_heads: list[int] = option([4], "attention heads")
    kernels: list[int] = option([31, 15, 15, 15], "widths of the depthwise convolutions (odd)")
    unmasked_dims: list[int] = option(
        [], "channels never dropped while training; empty: all of encoder_dims"
    )
    query_head_dim: int = option(32, "width of a head's queries and keys")
    value_head_dim: int = option(12, "width of a head's values")
    pos_head_dim: int = option(4, "width of what a head asks of relative positions")
    pos_dim: int = option(48, "width of the relative positions (even)")
    subsampling_channels: list[int] = option(
        [8, 32, 128], "channels of the three convolutions in front"
    )
    causal: bool = option(False, "whether it is a streaming model")
    chunk_sizes: list[int] = option(
        [16, 32, 64, -1],
        "frames (50 a second) of a chunk of a streaming model, -1 for the whole utterance: "
        "training draws one for each batch, decoding takes the last one",
    )
    left_context_frames: list[int] = option(
        [64, 128, 256, -1], "frames before a chunk that it attends to, -1 for all; as chunk_sizes"
    )
    warmup_batches: int = option(
        4000,
        "batches (of training.reference_batch) after which dropout, skipped layers and the like "
        "are near their final rates",
    )


@dataclass
class ModelConfig:
    kind: str = option(
        "ctc",
        "ctc: an encoder with a CTC head; transducer: encoder, predictor and joiner (RNN-T), and a "
        "CTC head too if loss.ctc_weight is not 0",
        choices=("ctc", "transducer"),
    )
    encoder: str = option(
        "conformer",
        "encoder architecture",
        choices=("conformer", "zipformer", "tdnn", "tdnn_lstm"),
    )
    dim: int = option(144, "width of the encoder's layers")
    layers: int = option(6, "number of encoder layers (Conformer blocks or TDNN convolutions)")
    heads: int = option(4, "attention heads of a Conformer block; must divide dim")
    feedforward_dim: int = option(576, "hidden width of a Conformer block's feed-forward modules")
    kernel: int = option(
        15, "width, in frames after subsampling, of a Conformer block's depthwise convolution (odd)"
    )
    dropout: float = option(0.1, "dropout inside the encoder's layers")
    layer_drop: float = option(
        0.0, "probability of skipping the last Conformer block while training; earlier blocks less"
    )
    subsampling: int = option(
        4, "feature frames per encoder frame; Conformer 2 or 4, TDNN 1, 3 or any other"
    )
    subsampling_channels: int = option(
        32, "channels of the Conformer's convolutional subsampling"
    )
    tdnn_kernel: int = option(3, "width of the TDNN's convolutions (odd)")
    tdnn_dilations: list[int] = option(
        [1, 1, 3, 3, 3], "dilation of the TDNN's convolutions, the last one repeated as needed"
    )
    lstm_layers: int = option(3, "LSTM layers after the convolutions of tdnn_lstm")
    predictor: str = option(
        "stateless",
        "a transducer's predictor: convolution over the last context_size symbols, or LSTM",
        choices=("stateless", "lstm"),
    )
    predictor_dim: int = option(512, "width of the predictor, its symbols' embeddings included")
    predictor_layers: int = option(1, "layers of an LSTM predictor")
    context_size: int = option(2, "symbols that a stateless predictor looks at")
    history_dropout: float = option(
        0.0,
        "share of the utterances whose symbols training hides from the predictor, so that the "
        "encoder alone tells a word said twice from a long one, and texts are not learnt by heart",
    )
    joiner_dim: int = option(512, "inner width of the joiner")
    blank: str = option(
        "joint",
        "what a transducer's blank depends on: encoder and predictor, or the encoder alone, which "
        "then marks one frame for each symbol: for little data, where repeated words get lost",
        choices=("joint", "encoder"),
    )
    decoder_layers: int = option(
        4, "layers of the attention decoder, which there is if loss.attention_weight is not 0"
    )
    decoder_dim: int = option(256, "width of the attention decoder")
    decoder_heads: int = option(4, "its attention heads; twice as many must divide decoder_dim")
    decoder_feedforward_dim: int = option(1024, "hidden width of its feed-forward modules")
    zipformer: ZipformerConfig = option(ZipformerConfig, "the Zipformer encoder")
