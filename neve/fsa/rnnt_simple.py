"""Log-probabilities of the additive joiner, without its logits: they are a matrix product.

The normaliser of exp(am + lm) is the product of exp(am) and exp(lm) (Kuang et al., 2022). Gradients
are written out, which keeps two tensors and two products where autograd would keep ten.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neve.fsa.backends import kernel


def smoothed_log_probs(
    lm: Tensor, am: Tensor, symbols: Tensor, blank: int, lm_only_scale: float, am_only_scale: float
) -> tuple[Tensor, Tensor]:
    """(px (B, S, T), py (B, S+1, T)) of am (B, T, C) and lm (B, S+1, C); FSA-SPEC section 2."""
    return _Smoothed.apply(lm, am, symbols, blank, lm_only_scale, am_only_scale)


def _exp(values: Tensor) -> tuple[Tensor, Tensor]:
    """(exp(values - highest of the row), highest of the row) of (B, N, C)."""
    rows = values.detach().contiguous().reshape(-1, values.shape[-1])
    out, highest = kernel("rnnt", "exp_rows", values.device)(rows)
    return out.reshape(values.shape), highest.reshape(*values.shape[:-1], 1)


class _Smoothed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lm, am, symbols, blank, lm_scale, am_scale):
        tiny = torch.finfo(lm.dtype).tiny
        num_symbols = symbols.shape[1]
        lm_exp, lm_high = _exp(lm)
        am_exp, am_high = _exp(am)
        product = lm_exp @ am_exp.transpose(1, 2)
        product += tiny
        norm = product.log() + lm_high + am_high.transpose(1, 2)
        frames = am.shape[1]
        at = symbols.unsqueeze(1).expand(-1, frames, -1)
        am_symbol = torch.gather(am, 2, at).transpose(1, 2)
        lm_symbol = torch.gather(lm[:, :num_symbols], 2, symbols.unsqueeze(2))
        am_blank, lm_blank = am[:, :, blank].unsqueeze(1), lm[:, :, blank].unsqueeze(2)
        both = 1.0 - lm_scale - am_scale
        px = (am_symbol + lm_symbol - norm[:, :num_symbols]) * both
        py = (am_blank + lm_blank - norm) * both
        lm_sum = lm_exp.sum(2, keepdim=True) if lm_scale or am_scale else None
        if lm_scale:
            lm_norm = lm_sum.log() + lm_high
            px += lm_scale * (lm_symbol - lm_norm[:, :num_symbols])
            py += lm_scale * (lm_blank - lm_norm)
        unigram = am_sum = None
        if am_scale:
            unigram = (lm_exp / lm_sum).mean((0, 1)) + tiny
            am_sum = (am_exp @ unigram).unsqueeze(1)
            am_norm = am_sum.log() + am_high.transpose(1, 2)
            logs = unigram.log()
            px += am_scale * (am_symbol + logs[symbols].unsqueeze(2) - am_norm)
            py += am_scale * (am_blank + logs[blank] - am_norm)
        ctx.save_for_backward(symbols, lm_exp, am_exp, product, lm_sum, unigram, am_sum)
        ctx.settings = (blank, lm_scale, am_scale)
        return px, py

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gx: Tensor, gy: Tensor):
        symbols, lm_exp, am_exp, product, lm_sum, unigram, am_sum = ctx.saved_tensors
        blank, lm_scale, am_scale = ctx.settings
        both = 1.0 - lm_scale - am_scale
        num_symbols = symbols.shape[1]
        mass = gy.clone()  # of each (position, frame)
        mass[:, :num_symbols] += gx
        weight = mass * (-both) / product
        gx_lm, gy_lm = gx.sum(2), gy.sum(2)
        d_unigram = None
        rows, row_weights = lm_exp, weight
        if am_scale:
            # the average of lm is one more row of lm, which all positions share
            am_weight = (-am_scale) * mass.sum(1, keepdim=True) / am_sum
            rows = torch.cat((lm_exp, unigram.expand(len(lm_exp), 1, -1)), dim=1)
            row_weights = torch.cat((weight, am_weight), dim=1)
            d_unigram = (am_weight.reshape(1, -1) @ am_exp.reshape(-1, am_exp.shape[2])).squeeze(0)
            d_log = torch.zeros_like(unigram)
            d_log.index_add_(0, symbols.reshape(-1), am_scale * gx_lm.reshape(-1))
            d_log[blank] += am_scale * gy.sum()
            d_unigram += d_log / unigram
        d_am = (row_weights.transpose(1, 2) @ rows).mul_(am_exp)
        at = symbols.unsqueeze(1).expand(-1, am_exp.shape[1], -1)
        d_am.scatter_add_(2, at, ((both + am_scale) * gx).transpose(1, 2))
        d_am[:, :, blank] += (both + am_scale) * gy.sum(1)
        d_lm = weight @ am_exp
        if lm_sum is not None:
            d_sum = (-lm_scale) * mass.sum(2, keepdim=True) / lm_sum
            if d_unigram is not None:
                share = d_unigram / (len(lm_exp) * lm_exp.shape[1])
                d_sum -= (lm_exp @ share).unsqueeze(2) / lm_sum.square()
                d_lm += share / lm_sum
            d_lm += d_sum
        d_lm *= lm_exp
        at = symbols.unsqueeze(2)
        d_lm[:, :num_symbols].scatter_add_(2, at, ((both + lm_scale) * gx_lm).unsqueeze(2))
        d_lm[:, :, blank] += (both + lm_scale) * gy_lm
        return d_lm, d_am, None, None, None, None
