"""Zipformer's encoder of one utterance in float64, written from the equations of the paper.

Yao et al., 2023, arXiv:2310.11230: frame by frame and without any of the library's code but the
names of parameters. Masked scores are -1000, as the published models have it.
"""

import math

import torch


def encode(p, config, x, valid, chunk=0, left=-1):
    """(T, F) features to (ceil(T' / 2), D).

    Args:
        p: parameters by name, of an encoder.
        config: `ZipformerConfig` with a list entry for every stack.
        x: float64 features.
        valid: frames at 50 a second that are the utterance's; the rest is padding.
        chunk, left: frames of a chunk (0: all), chunks before it that are attended to (-1: all).
    """
    x = front(p, x)
    outputs = []
    for i, dim in enumerate(config.encoder_dims):
        x = torch.cat([x, x.new_zeros(len(x), max(0, dim - x.shape[1]))], dim=1)[:, :dim]
        x = stack(p, f"stacks.{i}", x, config, i, valid, chunk, left)
        outputs.append(x)
    pieces, width = [outputs[-1]], outputs[-1].shape[1]
    for output in reversed(outputs[:-1]):
        if output.shape[1] > width:
            pieces.append(output[:, width:])
            width = output.shape[1]
    return downsample(p["downsample_output.bias"], torch.cat(pieces, dim=1))


# -- the convolutions in front ---------------------------------------------------------------------


def convolve(x, weight, bias, stride=(1, 1), pad=(0, 0)):
    """x (C, T, F), weight (O, C / groups, K, L) with groups 1 or C."""
    groups = len(x) if weight.shape[1] == 1 and len(x) > 1 else 1
    channels, frames, bins = x.shape
    wide = x.new_zeros(channels, frames + 2 * pad[0], bins + 2 * pad[1])
    wide[:, pad[0] : pad[0] + frames, pad[1] : pad[1] + bins] = x
    high, width = weight.shape[2:]
    rows = (wide.shape[1] - high) // stride[0] + 1
    columns = (wide.shape[2] - width) // stride[1] + 1
    y = 0.0
    for k in range(high):
        for j in range(width):
            part = wide[:, k : k + stride[0] * rows : stride[0]]
            part = part[:, :, j : j + stride[1] * columns : stride[1]]
            if groups == 1:
                y = y + torch.einsum("oc,ctf->otf", weight[:, :, k, j], part)
            else:
                y = y + weight[:, 0, k, j, None, None] * part
    return y + bias[:, None, None]


def front(p, x):
    def conv(name, x, stride=(1, 1), pad=(0, 0)):
        name = f"subsampling.{name}"
        return convolve(x, p[f"{name}.weight"], p[f"{name}.bias"], stride, pad)

    x = swoosh_r(conv("conv1", x[None], pad=(0, 1)))
    x = swoosh_r(conv("conv2", x, stride=(2, 2)))
    x = swoosh_r(conv("conv3", x, stride=(1, 2)))
    y = conv("convnext.depthwise_conv", x, pad=(3, 3))
    y = swoosh_l(conv("convnext.pointwise_conv1", y))
    x = x + conv("convnext.pointwise_conv2", y)
    x = linear(p, "subsampling.out", torch.stack([frame.flatten() for frame in x.unbind(1)]))
    return bias_norm(p, "subsampling.out_norm", x)


# -- stacks ----------------------------------------------------------------------------------------


def downsample(bias, x):
    weights = torch.exp(bias) / torch.exp(bias).sum()
    rows = []
    for start in range(0, len(x), len(bias)):
        frames = [x[min(start + i, len(x) - 1)] for i in range(len(bias))]
        rows.append(sum(weight * frame for weight, frame in zip(weights, frames)))
    return torch.stack(rows)


def stack(p, name, x, config, number, valid, chunk, left):
    factor = config.downsampling_factors[number]
    before = x
    if factor > 1:
        x = downsample(p[f"{name}.downsample.bias"], x)
    valid, chunk = -(-valid // factor), chunk // factor
    for j in range(config.num_encoder_layers[number]):
        x = layer(p, f"{name}.layers.{j}", x, config, number, valid, chunk, left)
    if factor > 1:
        x = torch.stack([x[t // factor] for t in range(len(before))])
        x = bypass(p, f"{name}.out_combiner", before, x)
    return x


def layer(p, name, x, config, number, valid, chunk, left):
    before = x
    weights = attention(p, f"{name}.self_attn_weights", x, config, number, valid, chunk, left)
    x = x + feed_forward(p, f"{name}.feed_forward1", x)
    x = x + nonlinear_attention(p, f"{name}.nonlin_attention", x, weights[0])
    x = x + self_attention(p, f"{name}.self_attn1", x, weights)
    x = x + convolution(p, f"{name}.conv_module1", x, valid, chunk)
    x = x + feed_forward(p, f"{name}.feed_forward2", x)
    x = bypass(p, f"{name}.bypass_mid", before, x)
    x = x + self_attention(p, f"{name}.self_attn2", x, weights)
    x = x + convolution(p, f"{name}.conv_module2", x, valid, chunk)
    x = x + feed_forward(p, f"{name}.feed_forward3", x)
    return bypass(p, f"{name}.bypass", before, bias_norm(p, f"{name}.norm", x))


def position(distance, dim):
    """Embedding of a distance key - query."""
    sign = (distance > 0) - (distance < 0)
    squeezed = sign * math.sqrt(dim) * math.log(1 + abs(distance) / math.sqrt(dim))
    angle = math.atan(squeezed * 2 * math.pi / dim)
    values = []
    for k in range(1, dim // 2 + 1):
        values += [math.cos(k * angle), math.sin(k * angle)]
    return torch.tensor([*values[:-1], 1.0], dtype=torch.float64)


def attention(p, name, x, config, number, valid, chunk, left):
    heads = config.num_heads[number]
    query_dim, place_dim = config.query_head_dim, config.pos_head_dim
    both = linear(p, f"{name}.in_proj", x)
    query = both[:, : heads * query_dim].view(len(x), heads, query_dim)
    key = both[:, heads * query_dim : 2 * heads * query_dim].view(len(x), heads, query_dim)
    place = both[:, 2 * heads * query_dim :].view(len(x), heads, place_dim)
    table = {
        d: (p[f"{name}.linear_pos.weight"] @ position(d, config.pos_dim)).view(heads, place_dim)
        for d in range(1 - len(x), len(x))
    }
    rows = []
    for i in range(len(x)):
        scores = []
        for j in range(len(x)):
            seen = j < valid
            if chunk:
                ago = i // chunk - j // chunk
                seen = seen and ago >= 0 and (left < 0 or ago <= left)
            score = (query[i] * key[j]).sum(1) + (place[i] * table[j - i]).sum(1)
            scores.append(score if seen else torch.full_like(score, -1000.0))
        scores = torch.stack(scores, dim=1)
        scores = torch.exp(scores - scores.max(dim=1, keepdim=True).values.detach())
        rows.append(scores / scores.sum(1, keepdim=True))
    return torch.stack(rows, dim=1)  # (H, T, T)


def self_attention(p, name, x, weights):
    values = linear(p, f"{name}.in_proj", x).view(len(x), len(weights), -1)
    summed = [weight @ values[:, head] for head, weight in enumerate(weights)]
    return linear(p, f"{name}.out_proj", torch.cat(summed, dim=1))


def nonlinear_attention(p, name, x, weight):
    s, x, y = linear(p, f"{name}.in_proj", x).chunk(3, dim=1)
    return linear(p, f"{name}.out_proj", (weight @ (torch.tanh(s) * x)) * y)


def feed_forward(p, name, x):
    return linear(p, f"{name}.out_proj", swoosh_l(linear(p, f"{name}.in_proj", x)))


def convolution(p, name, x, valid, chunk):
    x, gate = linear(p, f"{name}.in_proj", x).chunk(2, dim=1)
    x = x / (1 + torch.exp(-gate))
    zero = torch.zeros_like(x[0])
    frames = [x[t] if t < valid else zero for t in range(len(x))]
    name = f"{name}.depthwise_conv"
    if f"{name}.weight" in p:
        weight, bias = p[f"{name}.weight"][:, 0], p[f"{name}.bias"]
        rows = [
            taps(frames, t - weight.shape[1] // 2, weight, 0, len(x)) + bias for t in range(len(x))
        ]
    else:
        rows = chunked(p, name, frames, chunk or len(x))
    inside = name.removesuffix(".depthwise_conv")
    return linear(p, f"{inside}.out_proj", swoosh_r(torch.stack(rows)))


def taps(frames, start, weight, low, high):
    """The sum of weight[:, k] * frames[start + k] over frames from low to below high."""
    places = range(weight.shape[1])
    return sum(
        (weight[:, k] * frames[start + k] for k in places if low <= start + k < high),
        torch.zeros_like(frames[0]),
    )


def chunked(p, name, frames, chunk):
    back, within = p[f"{name}.causal_conv.weight"][:, 0], p[f"{name}.chunkwise_conv.weight"][:, 0]
    first, last = p[f"{name}.chunkwise_conv_scale"]
    kernel, rows = within.shape[1], []
    for t in range(len(frames)):
        place = t % chunk
        scale = 1.0
        if place < kernel:
            scale = scale + first[:, place]
        if place - chunk + kernel >= 0:
            scale = scale + last[:, place - chunk + kernel]
        start = t - place
        y = taps(frames, t - kernel // 2, within, start, min(start + chunk, len(frames)))
        y = scale * (y + p[f"{name}.chunkwise_conv.bias"])
        y = y + taps(frames, t - back.shape[1] + 1, back, 0, len(frames))
        rows.append(y + p[f"{name}.causal_conv.bias"])
    return rows


# -- small parts -----------------------------------------------------------------------------------


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def bypass(p, name, before, after):
    scale = p[f"{name}.bypass_scale"]
    return (1 - scale) * before + scale * after


def bias_norm(p, name, x):
    size = ((x - p[f"{name}.bias"]) ** 2).mean(1, keepdim=True).sqrt()
    return x / size * torch.exp(p[f"{name}.log_scale"])


def swoosh_l(x):
    return torch.log(1 + torch.exp(x - 4)) - 0.08 * x - 0.035


def swoosh_r(x):
    return torch.log(1 + torch.exp(x - 1)) - 0.08 * x - 0.313261687
