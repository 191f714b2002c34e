"""A DiT of pixels in PyTorch as this package's own bases are: it predicts the data on the linear path, t from 0 (noise) to 1 (data).

The network is facebookresearch/DiT's under its own key names, its positions fixed; the objective is TrainingObjective.swift's for
`x0`, and `sampled` is the AB2 (`multistep`) sampler of RectifiedFlowRules.swift. `adapterctl forward` and `sample` give the same numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

# 1 - t is not divided by less.
LEAST_DIVISOR = 0.05
# What the timestep embedder takes for one unit of t.
TIME_SCALE = 1000


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def split(self, qkv: torch.Tensor) -> torch.Tensor:
        return qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, n, heads, T, D / heads)

    def forward(self, x):
        q, k, v = self.split(self.qkv(x)).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulated(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn, self.mlp = Attention(width, heads), Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulated(x, shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulated(x, shift2, scale2))


class DiT(nn.Module):
    """Takes images (n, 3, S, S), times 0 to 1000 (n) and rows of the class table (n); the last row is the null class."""

    def __init__(self, size: int, patch: int, width: int, depth: int, heads: int, classes: int):
        super().__init__()
        self.config = {
            "depth": depth,
            "hidden_size": width,
            "in_channels": 3,
            "input_size": size,
            "learn_sigma": False,
            "num_classes": classes,
            "num_heads": heads,
            "patch_size": patch,
        }
        self.grid, self.patch, self.classes = size // patch, patch, classes
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.t_embedder = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, width)})
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.final_layer = nn.ModuleDict({"linear": nn.Linear(width, 3 * patch**2), "adaLN_modulation": modulation})
        self.register_buffer("positions", self.position_table(width), persistent=False)
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128), persistent=False)
        self.initialise()

    def position_table(self, width: int) -> torch.Tensor:
        frequencies = 10000 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
        angles = torch.arange(self.grid, dtype=torch.float64)[:, None] * frequencies
        half = torch.cat([angles.sin(), angles.cos()], dim=1).float()  # of one coordinate
        column, row = half[None].expand(self.grid, -1, -1), half[:, None].expand(-1, self.grid, -1)
        return torch.cat([column, row], dim=2).flatten(0, 1)[None]

    def initialise(self):
        for name, value in self.named_parameters():
            if name.endswith("bias") or "adaLN" in name or name.startswith("final_layer"):
                nn.init.zeros_(value)
            elif "embedder.mlp" in name or "table" in name:
                nn.init.normal_(value, std=0.02)
            else:
                nn.init.xavier_uniform_(value.data.flatten(1))

    def forward(self, x, t, y):
        n, p, g = len(x), self.patch, self.grid
        # What is small or must be exact stays in float32; the blocks alone run in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            proj = self.x_embedder["proj"]
            patches = x.reshape(n, 3, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, 3 * p * p)
            h = F.linear(patches, proj.weight.flatten(1), proj.bias) + self.positions
            angles = t[:, None] * self.frequencies
            c = self.t_embedder["mlp"](torch.cat([angles.cos(), angles.sin()], dim=1)) + self.y_embedder["embedding_table"](y)
        for block in self.blocks:
            h = block(h, c)
        with torch.autocast(x.device.type, enabled=False):
            h = self.final_layer["linear"](modulated(h.float(), *self.final_layer["adaLN_modulation"](c).chunk(2, dim=1)))
            return h.reshape(n, g, g, p, p, 3).permute(0, 5, 1, 3, 2, 4).reshape(n, 3, g * p, g * p)


def mixed(x0, noise, t):
    t = t.view(-1, 1, 1, 1)
    return t * x0 + (1 - t) * noise


def velocity_errors(model, x0, noise, t, y):
    """Mean squared error of the velocity for each image; t runs from 0 (noise) to 1 (data)."""
    out = model(mixed(x0, noise, t), TIME_SCALE * t, y)
    return ((out - x0) / (1 - t).clamp(min=LEAST_DIVISOR).view(-1, 1, 1, 1)).square().mean((1, 2, 3))


@torch.no_grad()
def sampled(model, labels, scale: float, steps: int = 40, seed: int = 1, noise=None) -> torch.Tensor:
    """Second-order multistep from noise to data, as `adapterctl sample` does it; pictures in -1...1."""
    if noise is None:
        size = model.config["input_size"]
        noise = torch.randn(len(labels), 3, size, size, generator=torch.Generator(labels.device).manual_seed(seed), device=labels.device)
    x, before, null = noise, None, torch.full_like(labels, model.classes)
    for i in range(steps):
        t, h = i / steps, 1 / steps
        times = torch.full((len(x),), TIME_SCALE * t, device=x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            data = model(x, times, labels)
            if scale != 1:
                other = model(x, times, null)
                data = other + scale * (data - other)
        data = data.clamp(-1, 1)
        velocity = (data - x) / (1 - t)
        x = data if i + 1 == steps else x + h * (velocity if before is None else 1.5 * velocity - 0.5 * before)
        before = velocity
    return x
