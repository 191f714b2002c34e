"""Records LoRA adapters as PEFT, diffusers and kohya's scripts save them, and what they compute: Tests/Goldens/lora/.

Every adapter is of the very small DiT in Tests/Goldens/containers. Where a library has a form, it wrote the file itself; the merged matrices are
PEFT's own (`merge_and_unload`), and `forward.safetensors` holds what diffusers' network computes with them: x, t, y, and an output per adapter.

peft/            a folder: qkv, proj, fc1 and fc2, with rank_pattern and alpha_pattern
peft-rslora/     rsLoRA on qkv, and modules_to_save with the class table
peft-bias/       bias: all, trained too
peft-embedding/  a pair of the class table (lora_embedding_A and _B) beside qkv
diffusers/       pytorch_lora_weights.safetensors: pairs of to_q, to_k (of another rank) and to_out.0, the facts in the file's metadata
kohya.safetensors     lora_unet_..., with .alpha tensors
processor.safetensors the attention processors' names of older diffusers, which say no alpha (5 was meant)

  lora.py record                          writes them, from the repository's root
  lora.py check ADAPTERCTL                exports them again in both forms and loads the exports in PEFT and diffusers

Needs torch, peft, diffusers and safetensors.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from diffusers import DiTTransformer2DModel
from diffusers.loaders import SD3LoraLoaderMixin
from diffusers.loaders.peft import PeftAdapterMixin
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

CONTAINERS, FOLDER = "Tests/Goldens/containers", "Tests/Goldens/lora"


class Transformer(DiTTransformer2DModel, PeftAdapterMixin):
    """diffusers' network with its own loader of adapters, which this one of its networks does not inherit."""


def network():
    return Transformer.from_pretrained(f"{CONTAINERS}/diffusers/transformer").eval()


class Reference(torch.nn.Module):
    """The modules of the reference under its names; what they compute is left to diffusers."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            *path, kind = name.split(".")
            parent = self
            for part in path[:-1]:
                if part not in parent._modules:
                    parent.add_module(part, torch.nn.Module())
                parent = parent._modules[part]
            if not path:
                self.register_parameter(name, torch.nn.Parameter(value.clone(), requires_grad=False))
                continue
            if kind == "weight":
                if "embedding_table" in path:
                    module = torch.nn.Embedding(*value.shape)
                elif value.dim() == 4:
                    module = torch.nn.Conv2d(value.shape[1], value.shape[0], value.shape[2])
                else:
                    module = torch.nn.Linear(value.shape[1], value.shape[0])
                parent.add_module(path[-1], module)
        self.load_state_dict(state)

    def forward(self, x):
        return x


def to_diffusers(state):
    """The reference's state under diffusers' names."""
    result = {}
    for name, value in state.items():
        kind = name.rsplit(".", 1)[-1]
        parts = name.split(".")
        for old, new in (("x_embedder.proj", "pos_embed.proj"), ("final_layer.linear", "proj_out_2"), ("final_layer.adaLN_modulation.1", "proj_out_1")):
            if name.startswith(old):
                result[f"{new}.{kind}"] = value
        if parts[0] == "blocks":
            block, rest = f"transformer_blocks.{parts[1]}", ".".join(parts[2:-1])
            if rest == "attn.qkv":
                for part, own in zip("qkv", value.chunk(3), strict=True):
                    result[f"{block}.attn1.to_{part}.{kind}"] = own.contiguous()
            names = {"attn.proj": "attn1.to_out.0", "mlp.fc1": "ff.net.0.proj", "mlp.fc2": "ff.net.2", "adaLN_modulation.1": "norm1.linear"}
            if rest in names:
                result[f"{block}.{names[rest]}.{kind}"] = value
        for old, new in (
            ("t_embedder.mlp.0", "timestep_embedder.linear_1"),
            ("t_embedder.mlp.2", "timestep_embedder.linear_2"),
            ("y_embedder.embedding_table", "class_embedder.embedding_table"),
        ):
            if name.startswith(old):
                for i in range(2):
                    result[f"transformer_blocks.{i}.norm1.emb.{new}.{kind}"] = value
    return result


def stir(model):
    """Random factors in the place of PEFT's zeros, and moved biases and tables where they are trained."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.15)
            elif parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))


def call(model, inputs):
    with torch.no_grad():
        return model(inputs["x"], timestep=inputs["t"], class_labels=inputs["y"]).sample.clone()


def record():
    torch.manual_seed(16)
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    state = load_file(f"{CONTAINERS}/dit.safetensors")
    inputs = {"x": torch.randn(2, 4, 4, 4), "t": torch.tensor([20, 700]), "y": torch.tensor([1, 2])}
    outputs = {"base": call(network(), inputs)}

    def merged(name, changed):
        model = network()
        missing, unknown = model.load_state_dict(to_diffusers(changed), strict=False)
        assert not missing and not unknown, (missing, unknown)
        outputs[name] = call(model, inputs)

    configs = {
        "peft": LoraConfig(
            r=2, lora_alpha=5, target_modules=["qkv", "attn.proj", "fc1", "fc2"], rank_pattern={"fc1": 3}, alpha_pattern={"blocks.1.attn.qkv": 7}
        ),
        "peft-rslora": LoraConfig(r=4, lora_alpha=6, target_modules=["qkv"], use_rslora=True, modules_to_save=["y_embedder"]),
        "peft-bias": LoraConfig(r=2, lora_alpha=4, target_modules=["qkv", "fc2"], bias="all"),
        "peft-embedding": LoraConfig(r=2, lora_alpha=3, target_modules=["qkv", "embedding_table"]),
    }
    for name, config in configs.items():
        model = get_peft_model(Reference(state), config)
        stir(model)
        model.save_pretrained(f"{FOLDER}/{name}", save_embedding_layers=False)
        os.remove(f"{FOLDER}/{name}/README.md")
        merged(name, model.merge_and_unload().state_dict())

    # diffusers: queries, keys and values apart, with different ranks.
    config = LoraConfig(
        r=2, lora_alpha=8, target_modules=["to_q", "to_k", "to_out.0"], rank_pattern={"to_k": 3}, alpha_pattern={"transformer_blocks.1.attn1.to_q": 3}
    )
    model = get_peft_model(network(), config)
    stir(model)
    layers = {k.replace("base_model.model.", ""): v for k, v in get_peft_model_state_dict(model).items()}
    facts = json.loads(json.dumps(config.to_dict(), default=lambda x: sorted(x) if isinstance(x, set) else str(x)))
    SD3LoraLoaderMixin.save_lora_weights(f"{FOLDER}/diffusers", transformer_lora_layers=layers, transformer_lora_adapter_metadata=facts)
    outputs["diffusers"] = call(model.merge_and_unload(), inputs)

    # kohya's names for the pairs of "peft", each with its alpha.
    pairs = load_file(f"{FOLDER}/peft/adapter_model.safetensors")
    kohya = {}
    for key, value in pairs.items():
        layer, factor = key.removeprefix("base_model.model.").rsplit(".lora_", 1)
        name = "lora_unet_" + layer.replace(".", "_")
        kohya[f"{name}.lora_{'down' if factor[0] == 'A' else 'up'}.weight"] = value
        kohya[f"{name}.alpha"] = torch.tensor(7.0 if layer == "blocks.1.attn.qkv" else 5.0)
    save_file(kohya, f"{FOLDER}/kohya.safetensors")

    # Older diffusers: the queries' pairs alone, at alpha 5.
    processor, change = {}, dict(to_diffusers(state))
    for i in range(2):
        down, up = 0.3 * torch.randn(2, 16), 0.3 * torch.randn(16, 2)
        processor[f"transformer_blocks.{i}.attn1.processor.to_q_lora.down.weight"] = down
        processor[f"transformer_blocks.{i}.attn1.processor.to_q_lora.up.weight"] = up
        change[f"transformer_blocks.{i}.attn1.to_q.weight"] = change[f"transformer_blocks.{i}.attn1.to_q.weight"] + 5 / 2 * up @ down
    save_file(processor, f"{FOLDER}/processor.safetensors")
    model = network()
    model.load_state_dict(change)
    outputs["processor"] = call(model, inputs)

    save_file({**inputs, **{f"out.{k}": v for k, v in outputs.items()}}, f"{FOLDER}/forward.safetensors")


def check(program):
    """Exports what was recorded again, loads it in the library of its form, and compares what that computes."""
    state = load_file(f"{CONTAINERS}/dit.safetensors")
    recorded = load_file(f"{FOLDER}/forward.safetensors")
    inputs = {k: recorded[k] for k in ("x", "t", "y")}
    with tempfile.TemporaryDirectory() as scratch:
        store = f"{scratch}/store"

        def run(*arguments):
            subprocess.run([program, *arguments, "--store", store], check=True, stdout=subprocess.DEVNULL)

        run("init")
        run("base", "import", f"{CONTAINERS}/dit.safetensors")
        for name in ("peft", "peft-rslora", "peft-bias", "peft-embedding", "diffusers"):
            run("add", name, f"{FOLDER}/{name}")
            run("export", name, "--format", "peft", "-o", f"{scratch}/{name}-peft")
            model = PeftModel.from_pretrained(Reference(state), f"{scratch}/{name}-peft")
            plain = network()
            plain.load_state_dict(to_diffusers(model.merge_and_unload().state_dict()), strict=False)
            compare(f"{name} through PEFT", call(plain, inputs), recorded[f"out.{name}"])
            if name in ("peft", "diffusers"):
                run("export", name, "--format", "diffusers", "-o", f"{scratch}/{name}-diffusers")
                model = network()
                model.load_lora_adapter(f"{scratch}/{name}-diffusers", prefix="transformer", weight_name="pytorch_lora_weights.safetensors")
                compare(f"{name} through diffusers", call(model, inputs), recorded[f"out.{name}"])


def compare(what, own, truth):
    error = ((own - truth).norm() / truth.norm()).item()
    print(f"{what}: relative error {error:.1e}")
    assert error < 1e-5, what


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        record()
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        sys.exit(__doc__)
