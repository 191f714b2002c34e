"""The DiT with DiffFit's scale factors as a PyTorch module with random weights, for timings beside this program."""

import math

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}


class Block(nn.Module):
    def __init__(self, d: int, heads: int, has_gammas: bool):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.modulation = nn.Linear(d, 6 * d)
        if has_gammas:
            self.gamma_qkv, self.gamma_proj = nn.Parameter(torch.ones(3 * d)), nn.Parameter(torch.ones(d))
            self.gamma1, self.gamma2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.has_gammas = has_gammas

    def forward(self, x, c):
        n, t, d = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        qkv = self.qkv(self.norm1(x) * (1 + scale1) + shift1)
        if self.has_gammas:
            qkv = qkv * self.gamma_qkv
        q, k, v = qkv.reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))
        if self.has_gammas:
            y = y * self.gamma_proj * self.gamma1
        x = x + gate1 * y
        y = self.fc2(F.gelu(self.fc1(self.norm2(x) * (1 + scale2) + shift2), approximate="tanh"))
        if self.has_gammas:
            y = y * self.gamma2
        return x + gate2 * y


class DiT(nn.Module):
    """`name` as "DiT-XL/2", `pixels` 256 or 512; gammas in the first half of the blocks where `gammas`."""

    def __init__(self, name: str, pixels: int = 256, gammas: bool = False):
        super().__init__()
        size, patch = name.removeprefix("DiT-").split("/")
        depth, d, heads = SIZES[size]
        self.side, self.patch = pixels // 8, int(patch)
        self.tokens = (self.side // self.patch) ** 2
        self.embed = nn.Conv2d(4, d, self.patch, self.patch)
        self.positions = nn.Parameter(torch.zeros(1, self.tokens, d))
        self.t1, self.t2 = nn.Linear(256, d), nn.Linear(d, d)
        self.classes = nn.Embedding(1001, d)
        self.blocks = nn.ModuleList(Block(d, heads, gammas and i < depth // 2) for i in range(depth))
        self.final_modulation, self.final = nn.Linear(d, 2 * d), nn.Linear(d, 8 * self.patch**2)
        with torch.no_grad():
            for key, value in self.named_parameters():
                value.normal_(0, 0.02)
                if "gamma" in key or ("norm" in key and "weight" in key):
                    value.add_(1)

    def forward(self, x, t, y):
        h = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        frequencies = torch.cat([angles.cos(), angles.sin()], dim=1).to(h.dtype)
        c = F.silu(self.t2(F.silu(self.t1(frequencies))) + self.classes(y))
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.final_modulation(c).unsqueeze(1).chunk(2, dim=-1)
        h = self.final(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        side, p = self.side // self.patch, self.patch
        return h.reshape(-1, side, side, p, p, 8).permute(0, 5, 1, 3, 2, 4).reshape(-1, 8, self.side, self.side)
