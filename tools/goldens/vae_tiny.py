"""Records small autoencoders of diffusers with random weights, and their passes: Tests/Goldens/vae-tiny-*.safetensors and vae-kl-16.

vae-tiny-4     4 latent channels, latents as they are; encoder and decoder of two widths, 1, 0, 2 and 2, 1, 0 blocks a level
vae-tiny-16    16 latent channels, a scaling factor and a shift; 0, 1 and 1, 1 blocks a level
vae-kl-16      an AutoencoderKL as SD3 and Flux have it: 16 latent channels, a scaling factor and a shift, no convolutions around the latent

Each holds the weights in diffusers' names with the configuration in the metadata, and beside them, under "passes.", a latent with values
beyond 3 on both sides, what decode makes of it, an image that is not square, and what encode makes of that (of the AutoencoderKL the
mean). `latent_magnitude` and
`latent_shift` differ from the defaults, so that a test would see them take part.

Run from the repository's root, with torch, diffusers and safetensors.
"""

import json

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import save_file

GOLDENS = "Tests/Goldens"
KINDS = {
    4: {
        "latent_channels": 4,
        "encoder_block_out_channels": (5, 5, 5),
        "num_encoder_blocks": (1, 0, 2),
        "decoder_block_out_channels": (4, 4, 4),
        "num_decoder_blocks": (2, 1, 0),
        "latent_magnitude": 2,
        "latent_shift": 0.25,
    },
    16: {
        "latent_channels": 16,
        "encoder_block_out_channels": (4, 4),
        "num_encoder_blocks": (0, 1),
        "decoder_block_out_channels": (6, 6),
        "num_decoder_blocks": (1, 1),
        "latent_magnitude": 5,
        "scaling_factor": 1.5305,
        "shift_factor": 0.0609,
    },
}


def values(vae):
    """Random weights, so that what goes through keeps its size; biases small, and of both signs."""
    for name, parameter in vae.named_parameters():
        scale = 1.4 / parameter[0].numel() ** 0.5 if parameter.dim() > 1 else 0.3
        parameter.copy_(torch.randn_like(parameter) * scale + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return vae.eval()


def save(name, vae, encode, sides):
    channels = vae.config.latent_channels
    latent = torch.randn(1, channels, *sides) * 4
    assert latent.max() > 6 and latent.min() < -6
    rows, columns = torch.linspace(-1, 1, 8)[:, None], torch.linspace(-1, 1, 12)[None, :]
    image = torch.stack([rows + 0 * columns, columns**3 + 0 * rows, rows * columns]).clamp(-1, 1)[None]
    passes = {"latent": latent, "image": vae.decode(latent).sample, "input": image, "encoded": encode(image)}
    tensors = {name: value.contiguous() for name, value in vae.state_dict().items()}
    tensors |= {f"passes.{name}": value.contiguous() for name, value in passes.items()}
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    save_file(tensors, f"{GOLDENS}/{name}.safetensors", metadata={"config": json.dumps(config)})


@torch.no_grad()
def main():
    for channels, fields in KINDS.items():
        torch.manual_seed(channels)
        vae = values(AutoencoderTiny(**fields))
        save(f"vae-tiny-{channels}", vae, lambda image, vae=vae: vae.encode(image).latents, (4, 6))
    torch.manual_seed(3)
    vae = AutoencoderKL(
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=2,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    save("vae-kl-16", values(vae), lambda image: vae.encode(image).latent_dist.mean, (4, 6))


main()
