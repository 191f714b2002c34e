"""Records a small AutoencoderKL of diffusers with random weights: Tests/Goldens/vae-small*.safetensors.

vae-small          the weights in diffusers' names, the configuration in the metadata
vae-small-compvis  the same weights as a CompVis training checkpoint names them; diffusers' own converter leads back to the first
vae-small-passes   decode (square, 5x7), encode (mean, logvar) of an asymmetric image, and the images of the last latents of the
                   recorded DiT pipeline (dit-tiny-diffusers-pipeline)

Run from the repository's root, with torch, diffusers and safetensors.
"""

import json

import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file

GOLDENS = "Tests/Goldens"


def compvis_name(name, levels):
    """CompVis' name of a diffusers tensor."""
    for old, new in [
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0", "mid.attn_1"),
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
        ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"),
        ("resnets", "block"),
        ("upsamplers.0", "upsample"),
        ("downsamplers.0", "downsample"),
    ]:
        name = name.replace(old, new)
    for level in range(levels):
        name = name.replace(f"down_blocks.{level}.", f"down.{level}.")
        name = name.replace(f"up_blocks.{level}.", f"up.{levels - 1 - level}.")
    return "first_stage_model." + name


@torch.no_grad()
def main():
    torch.manual_seed(28)
    channels = (8, 8, 16)
    vae = AutoencoderKL(
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    ).eval()
    for name, parameter in vae.named_parameters():
        scale = 0.3 if "norm" in name else 1.5 / max(parameter[0].numel(), 1) ** 0.5 if parameter.dim() > 1 else 0.2
        parameter.copy_(torch.randn_like(parameter) * scale + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    state = {name: value.contiguous() for name, value in vae.state_dict().items()}
    # The scaling factor is left out, as in the published files.
    config = {"norm_num_groups": 4, "act_fn": "silu", "latents_mean": None}
    save_file(state, f"{GOLDENS}/vae-small.safetensors", metadata={"config": json.dumps(config)})

    renamed = {}
    for name, value in state.items():
        is_matrix = ".attentions." in name and value.dim() == 2
        renamed[compvis_name(name, len(channels))] = value[:, :, None, None].contiguous() if is_matrix else value
    back = convert_ldm_vae_checkpoint(dict(renamed), {"down_block_types": vae.config.down_block_types, "up_block_types": vae.config.up_block_types})
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in state)
    save_file(renamed, f"{GOLDENS}/vae-small-compvis.safetensors", metadata={"config": json.dumps(config)})

    latent, wide = torch.randn(2, 4, 8, 8), torch.randn(1, 4, 5, 7)
    rows, columns = torch.linspace(-1, 1, 24)[:, None], torch.linspace(-1, 1, 40)[None, :]
    image = torch.stack([rows + 0 * columns, columns**3 + 0 * rows, rows * columns]).clamp(-1, 1)[None]
    posterior = vae.encode(image).latent_dist
    pipeline = load_file(f"{GOLDENS}/dit-tiny-diffusers-pipeline.safetensors")["trajectory"][-1]
    passes = {
        "latent": latent,
        "image": vae.decode(latent).sample,
        "latent_5x7": wide,
        "image_5x7": vae.decode(wide).sample,
        "input": image,
        "mean": posterior.mean,
        "logvar": posterior.logvar,
        "pipeline_images": (vae.decode(pipeline / 0.18215).sample / 2 + 0.5).clamp(0, 1),
    }
    save_file({name: value.contiguous() for name, value in passes.items()}, f"{GOLDENS}/vae-small-passes.safetensors")


main()
