"""Language networks: BERT, GPT-2, Llama, and torch's own nn.TransformerEncoder."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class BertLayer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, dim // heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.output, self.norm1 = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=1e-12)
        self.intermediate, self.dense, self.norm2 = (
            nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim), nn.LayerNorm(dim, eps=1e-12),
        )  # fmt: skip

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.size()[:-1], self.heads, self.size).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = torch.matmul(self.split(self.query(x)), self.split(self.key(x)).transpose(-1, -2))
        weights = F.softmax(scores / math.sqrt(self.size) + mask, dim=-1)
        y = torch.matmul(weights, self.split(self.value(x))).permute(0, 2, 1, 3).contiguous()
        x = self.norm1(self.output(y.view(*y.size()[:-2], -1)) + x)
        return self.norm2(self.dense(F.gelu(self.intermediate(x))) + x)


class Bert(nn.Module):
    def __init__(self, vocabulary: int = 100, length: int = 16, dim: int = 32) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, dim, padding_idx=0), nn.Embedding(length, dim)
        self.kinds, self.norm = nn.Embedding(2, dim), nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(dim, 4) for _ in range(3))
        self.pooler, self.classifier = nn.Linear(dim, dim), nn.Linear(dim, 3)
        self.register_buffer("places", torch.arange(length).expand((1, -1)))

    def forward(self, words: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        mask = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        kinds = torch.zeros_like(words)
        x = self.words(words) + self.kinds(kinds) + self.positions(self.places[:, : words.size(1)])
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x, self.classifier(torch.tanh(self.pooler(x[:, 0])))


class Conv1D(nn.Module):
    """GPT-2's linear layer, with its weight transposed."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(0.2 * torch.randn(cin, cout)), nn.Parameter(torch.zeros(cout))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.size()[:-1], self.bias.size(0))


class Gpt2Block(nn.Module):
    def __init__(self, dim: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.dim = heads, dim
        self.ln_1, self.c_attn, self.c_proj = nn.LayerNorm(dim), Conv1D(dim, 3 * dim), Conv1D(dim, dim)
        self.ln_2, self.c_fc, self.mlp_proj = nn.LayerNorm(dim), Conv1D(dim, 4 * dim), Conv1D(4 * dim, dim)
        self.register_buffer(
            "causal", torch.tril(torch.ones(length, length, dtype=torch.bool)).view(1, 1, length, length)
        )

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.size()
        q, k, v = self.c_attn(self.ln_1(x)).split(self.dim, dim=2)
        q, k, v = (y.view(b, t, self.heads, d // self.heads).transpose(1, 2) for y in (q, k, v))
        scores = torch.matmul(q, k.transpose(-1, -2)) / (v.size(-1) ** 0.5)
        least = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
        scores = torch.where(self.causal[:, :, :t, :t], scores, least)
        y = torch.matmul(F.softmax(scores, dim=-1), v).transpose(1, 2).contiguous().view(b, t, d)
        x = x + self.c_proj(y)
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocabulary: int = 100, length: int = 16, dim: int = 32) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, dim), nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(Gpt2Block(dim, 4, length) for _ in range(3))
        self.ln_f, self.lm_head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, words: Tensor) -> Tensor:
        places = torch.arange(0, words.size(1), dtype=torch.long).unsqueeze(0)
        x = self.wte(words) + self.wpe(places)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class RmsNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotate_half(x: Tensor) -> Tensor:
    return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)


class LlamaBlock(nn.Module):
    """Grouped queries, rotary positions, SwiGLU."""

    def __init__(self, dim: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, dim // heads
        self.norm1, self.norm2 = RmsNorm(dim), RmsNorm(dim)
        self.q, self.o = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.k, self.v = nn.Linear(dim, groups * self.size, bias=False), nn.Linear(dim, groups * self.size, bias=False)
        self.gate, self.up, self.down = (
            nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, 3 * dim, bias=False), nn.Linear(3 * dim, dim, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, d = x.shape
        y = self.norm1(x)
        q = self.q(y).view(b, t, self.heads, self.size).transpose(1, 2)
        k = self.k(y).view(b, t, self.groups, self.size).transpose(1, 2)
        v = self.v(y).view(b, t, self.groups, self.size).transpose(1, 2)
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        times = self.heads // self.groups
        k = k[:, :, None].expand(b, self.groups, times, t, self.size).reshape(b, self.heads, t, self.size)
        v = v[:, :, None].expand(b, self.groups, times, t, self.size).reshape(b, self.heads, t, self.size)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, d))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, vocabulary: int = 100, dim: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.blocks = nn.ModuleList(LlamaBlock(dim, heads, 2) for _ in range(3))
        self.norm, self.head = RmsNorm(dim), nn.Linear(dim, vocabulary, bias=False)
        size = dim // heads
        self.register_buffer("frequencies", 1.0 / (10000.0 ** (torch.arange(0, size, 2).float() / size)))

    def forward(self, words: Tensor) -> Tensor:
        places = torch.arange(words.shape[1]).float()
        angles = places[:, None] * self.frequencies[None, :]
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(words)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.norm(x))


class Encoder(nn.Module):
    """torch's own encoder layers, whose sequences come first."""

    def __init__(self, vocabulary: int = 100, dim: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(dim, 4, 64, 0.1), 2, enable_nested_tensor=False)
        place = torch.arange(16).unsqueeze(1)
        rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
        codes = torch.zeros(16, 1, dim)
        codes[:, 0, 0::2], codes[:, 0, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
        self.register_buffer("codes", codes)
        self.decoder = nn.Linear(dim, 5)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words).transpose(0, 1) * math.sqrt(32)
        x = self.encoder(x + self.codes[: x.size(0)])
        return self.decoder(x.mean(0))
