"""A small language model in PyTorch, as those that people export: rotary positions, a causal mask, gates, caches that grow."""

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

VOCABULARY, WIDTH, HEADS, EACH, LAYERS = 23, 16, 2, 8, 2


class Norm(nn.Module):
    """RMS normalisation."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Block(nn.Module):
    """Attention to the cache and to what comes in, then gated products."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(WIDTH, 32), nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
        self.first, self.second = Norm(), Norm()

    def forward(self, x, position, mask, keys, values):
        texts, tokens, _ = x.shape
        normed = self.first(x)
        q, k, v = (
            f(normed).view(texts, tokens, HEADS, EACH).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        turns = 1.0 / (10000 ** (torch.arange(0, EACH, 2, dtype=torch.float32) / EACH))
        angle = position[:, None, :, None].float() * turns
        cos, sin = (torch.cat([f(angle)] * 2, -1) for f in (torch.cos, torch.sin))

        def turned(z):
            return z * cos + torch.cat([-z[..., EACH // 2 :], z[..., : EACH // 2]], -1) * sin

        keys, values = torch.cat([keys, turned(k)], 2), torch.cat([values, v], 2)
        seen = torch.arange(keys.shape[2])[None, None, None, :] <= position[:, None, :, None]
        bias = torch.where(seen & mask[:, None, None, :].bool(), 0.0, -1e9)
        shares = torch.softmax(turned(q) @ keys.transpose(-1, -2) / EACH**0.5 + bias, -1)
        x = x + self.out((shares @ values).transpose(1, 2).reshape(texts, tokens, WIDTH))
        normed = self.second(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed)), keys, values


class Model(nn.Module):
    """Token and position numbers, a mask and caches in; logits and longer caches out."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(VOCABULARY, WIDTH), Norm()
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens, mask, position, *caches):
        x, made = self.embedding(tokens), []
        for number, block in enumerate(self.blocks):
            x, *both = block(x, position, mask, *caches[2 * number : 2 * number + 2])
            made += both
        return (self.head(self.last(x)), *made)


def export(path, dynamo):
    """Write a model of random weights with open sizes; the model."""
    torch.manual_seed(0)
    model = Model().eval()
    caches = [f"{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    inputs = ["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{name}" for name in caches)]
    given = (
        torch.zeros(2, 2, dtype=torch.long),
        torch.ones(2, 5, dtype=torch.long),
        torch.zeros(2, 2, dtype=torch.long),
        *(torch.randn(2, HEADS, 3, EACH) for _ in caches),
    )
    sizes = [{0: "batch", 1: "sequence"}, {0: "batch", 1: "total"}, {0: "batch", 1: "sequence"}]
    sizes += [{0: "batch", 2: "past"}] * len(caches)
    open_sizes = (
        {"dynamic_shapes": (*sizes[:3], tuple(sizes[3:]))} if dynamo else {"dynamic_axes": dict(zip(inputs, sizes))}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            given,
            path,
            input_names=inputs,
            output_names=["logits", *(f"present.{name}" for name in caches)],
            dynamo=dynamo,
            verbose=False,
            **({} if dynamo else {"opset_version": 17}),
            **open_sizes,
        )
    return model


def written(model, prompt, tokens):
    """What the model writes behind a prompt, greedily."""
    caches = [torch.zeros(len(prompt), HEADS, 0, EACH) for _ in range(2 * LAYERS)]
    made = []
    with torch.no_grad():
        for step in range(prompt.shape[1] + tokens - 1):
            token = torch.tensor(prompt[:, step] if step < prompt.shape[1] else made[-1])[:, None]
            mask, position = torch.ones(len(prompt), step + 1, dtype=torch.long), torch.full((len(prompt), 1), step)
            logits, *caches = model(token, mask, position, *caches)
            if step >= prompt.shape[1] - 1:
                made.append(logits[:, -1].argmax(-1).numpy())
    return np.stack(made, axis=1)
