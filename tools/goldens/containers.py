"""Records one very small DiT in every container that DiTs are published in: Tests/Goldens/containers/.

The weights are random, the positions diffusers' own. `dit.safetensors` holds them in the reference's names; every other file
holds the same values, so that a reader must give the same bytes for all of them.

dit.pt dit-module.pt      bare state dict; the same with `module.` before every name
dit-train.pt              {model, ema, opt, args} as train.py saves it: `ema` holds the values, `model` others, `args` a Namespace
dit-legacy.pt             torch's container before 1.6
dit-strided.pt            transposed views, one shared storage, offsets
dit-parameters.pt         Parameters and a defaultdict, pickle protocol 4
dit-f16.pt dit-bf16.pt dit-f64.pt   the values rounded to that type (f64: exactly)
dit-sharded.*             two safetensors files and their index
diffusers/                the pipeline folder of diffusers itself, with id2label and an autoencoder
diffusers-bin/            the transformer alone, as .bin
small.pt small-legacy.pt  three little tensors, for tools/fuzz to begin with
port.pt port.safetensors  a DiffFit port's checkpoint {model, ema} of the whole model, and the adapter in it alone

Run from the repository's root, with torch, diffusers and safetensors.
"""

import argparse
import collections
import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from safetensors.torch import save_file

FOLDER = "Tests/Goldens/containers"
WIDTH, DEPTH, HEADS, PATCH, SIDE, CLASSES = 16, 2, 2, 2, 4, 3
LABELS = {"0": "tench, Tinca tinca", "1": "crane", "2": "crane, machine"}


def original(transformer):
    """diffusers' state dict under the reference's names."""
    grid = SIDE // PATCH
    positions = torch.as_tensor(get_2d_sincos_pos_embed(WIDTH, grid, base_size=grid, output_type="np"))
    state = {"pos_embed": positions.float()[None]}

    def take(name, *parts):
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] = torch.cat([transformer[f"{part}.{kind}"] for part in parts]).clone()

    embedder = "transformer_blocks.0.norm1.emb"
    take("x_embedder.proj", "pos_embed.proj")
    take("t_embedder.mlp.0", f"{embedder}.timestep_embedder.linear_1")
    take("t_embedder.mlp.2", f"{embedder}.timestep_embedder.linear_2")
    state["y_embedder.embedding_table.weight"] = transformer[f"{embedder}.class_embedder.embedding_table.weight"].clone()
    for i in range(DEPTH):
        block = f"transformer_blocks.{i}"
        take(f"blocks.{i}.attn.qkv", *(f"{block}.attn1.to_{x}" for x in "qkv"))
        take(f"blocks.{i}.attn.proj", f"{block}.attn1.to_out.0")
        take(f"blocks.{i}.mlp.fc1", f"{block}.ff.net.0.proj")
        take(f"blocks.{i}.mlp.fc2", f"{block}.ff.net.2")
        take(f"blocks.{i}.adaLN_modulation.1", f"{block}.norm1.linear")
    take("final_layer.adaLN_modulation.1", "proj_out_1")
    take("final_layer.linear", "proj_out_2")
    return state


def strided(state):
    """The same values: matrices as transposes of their transposes, the rest side by side in one storage."""
    flat = torch.cat([torch.zeros(5)] + [v.flatten() for v in state.values()])
    result, start = {}, 5
    for name, value in state.items():
        if value.dim() == 2 and "mlp" in name:
            result[name] = value.t().contiguous().t()
        else:
            result[name] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    return result


def port(state):
    """What a DiffFit port saves: every parameter, moved where DiffFit trains, gammas in the first half of the blocks."""
    moved = dict(state)
    for name in state:
        if name.endswith("bias") or name.startswith("y_embedder"):
            moved[name] = state[name] + 0.1 * torch.randn_like(state[name])
    for i in range(DEPTH):
        for norm in ("norm1", "norm2"):
            moved[f"blocks.{i}.{norm}.weight"] = 1 + 0.1 * torch.randn(WIDTH)
            moved[f"blocks.{i}.{norm}.bias"] = 0.1 * torch.randn(WIDTH)
        if i < DEPTH // 2:
            for name, count in {"attn.gamma1": 3 * WIDTH, "attn.gamma2": WIDTH, "gamma1": WIDTH, "gamma2": WIDTH}.items():
                moved[f"blocks.{i}.{name}"] = 1 + 0.1 * torch.randn(count)
    adapter = {k: v for k, v in moved.items() if k not in state or not torch.equal(v, state[k])}
    return moved, adapter


def main():
    torch.manual_seed(3)
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    transformer = DiTTransformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=4,
        out_channels=8,
        num_layers=DEPTH,
        patch_size=PATCH,
        sample_size=SIDE,
        num_embeds_ada_norm=CLASSES,
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.normal_(0, 0.2)
        first = transformer.transformer_blocks[0].norm1.emb
        for block in transformer.transformer_blocks[1:]:
            block.norm1.emb.load_state_dict(first.state_dict())
    vae = AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=8,
        scaling_factor=0.18215,
    )
    pipeline = DiTPipeline(transformer, vae, DDIMScheduler(clip_sample=False), id2label={int(k): v for k, v in LABELS.items()})
    pipeline.save_pretrained(f"{FOLDER}/diffusers")
    # Saving drops the labels (diffusers issue 13616); the published folder has them here.
    index = Path(FOLDER, "diffusers/model_index.json")
    index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": LABELS}, indent=2))
    transformer.save_pretrained(f"{FOLDER}/diffusers-bin/transformer", safe_serialization=False)

    state = original(transformer.state_dict())
    save_file(state, f"{FOLDER}/dit.safetensors", {"config": json.dumps({"input_size": SIDE, "num_heads": HEADS})})
    torch.save(state, f"{FOLDER}/dit.pt")
    torch.save({f"module.{k}": v for k, v in state.items()}, f"{FOLDER}/dit-module.pt")
    torch.save(state, f"{FOLDER}/dit-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(strided(state), f"{FOLDER}/dit-strided.pt")
    torch.save({k: v.half() for k, v in state.items()}, f"{FOLDER}/dit-f16.pt")
    torch.save({k: v.bfloat16() for k, v in state.items()}, f"{FOLDER}/dit-bf16.pt")
    torch.save({k: v.double() for k, v in state.items()}, f"{FOLDER}/dit-f64.pt")
    parameters = collections.defaultdict(list, {k: torch.nn.Parameter(v) for k, v in state.items()})
    torch.save({"state_dict": parameters, "epoch": 3, "loss": [0.5, None, True]}, f"{FOLDER}/dit-parameters.pt", pickle_protocol=4)

    model = {k: torch.nn.Parameter(v + 1) for k, v in state.items()}
    optimizer = torch.optim.AdamW(list(model.values())[-2:], lr=1e-4)
    sum(p.sum() for p in list(model.values())[-2:]).backward()
    optimizer.step()
    arguments = argparse.Namespace(model="DiT-XS/2", num_classes=CLASSES, results_dir="results", epochs=1)
    checkpoint = {"model": {k: v.detach() for k, v in model.items()}, "ema": state, "opt": optimizer.state_dict(), "args": arguments}
    torch.save(checkpoint, f"{FOLDER}/dit-train.pt")

    matrix = torch.arange(6.0).view(2, 3)
    small = {"model": {"a": matrix, "b": matrix.t(), "n": torch.tensor([7])}, "args": arguments}
    torch.save(small, f"{FOLDER}/small.pt")
    torch.save(small, f"{FOLDER}/small-legacy.pt", _use_new_zipfile_serialization=False)

    names = list(state)
    parts = {"dit-sharded-00001-of-00002.safetensors": names[::2], "dit-sharded-00002-of-00002.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({k: state[k] for k in own}, f"{FOLDER}/{file}")
    weight_map = {k: file for file, own in parts.items() for k in own}
    Path(FOLDER, "dit-sharded.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))

    moved, adapter = port(state)
    torch.save({"model": {k: v + 1 for k, v in moved.items()}, "ema": moved}, f"{FOLDER}/port.pt")
    save_file(adapter, f"{FOLDER}/port.safetensors")


if __name__ == "__main__":
    main()
