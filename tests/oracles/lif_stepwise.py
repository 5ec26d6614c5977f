"""LIF one step at a time through autograd: the judge of the hand-written backward pass."""

import torch


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, kind):
        ctx.save_for_backward(u)
        ctx.kind = kind
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        if ctx.kind == "triangle":
            slope = torch.where(u.abs() < 1, 1 - u.abs(), torch.zeros_like(u))
        elif ctx.kind == "rectangle":
            slope = torch.where(u.abs() < 0.5, torch.ones_like(u), torch.zeros_like(u))
        elif ctx.kind == "fast_sigmoid":
            slope = 1 / (1 + 4 * u.abs()) ** 2
        else:
            slope = 1 / (1 + (torch.pi * u) ** 2)
        return grad * slope, None


class _Store(torch.autograd.Function):
    """Round to the membrane grid and saturate; gradient 1 inside, 0 where it saturated."""

    @staticmethod
    def forward(ctx, x, per_theta):
        code = torch.round(x * per_theta)
        ctx.save_for_backward((code >= -per_theta) & (code <= per_theta - 1))
        return torch.minimum(torch.maximum(code, torch.tensor(-per_theta)), torch.tensor(per_theta - 1)) / per_theta

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class _RoundLeak(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, theta):
        return torch.round(x * theta) / theta

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def lif_stepwise(current, *, leak, reset, surrogate, bits=None, guard_bits=None, threshold=1.0):
    """Spikes and membranes over the threshold (T, ...) of a current (T, ...); leak and threshold may be tensors.

    The grid is that of a threshold of 1.
    """
    state = torch.zeros_like(current[0])
    spikes, membranes = [], []
    for now in current:
        kept = state * leak
        if bits is not None:
            kept = _RoundLeak.apply(kept, 2.0 ** (bits - 1 + guard_bits))
        h = kept + now
        s = _Spike.apply(h / threshold - 1.0, surrogate)
        state = h * (1 - s.detach()) if reset == "hard" else h - threshold * s.detach()
        if bits is not None:
            state = _Store.apply(state, 2.0 ** (bits - 1))
        spikes.append(s)
        membranes.append(h / threshold)
    return torch.stack(spikes), torch.stack(membranes)
