"""Records a very small DiT as compressed-tensors stores one that is 2:4 sparse: Tests/Goldens/containers/dit-sparse-24.safetensors.

The weights are those of `dit.safetensors` beside it, whose blocks' qkv, proj, fc1 and fc2 keep two of every four values by magnitude. These
four are `X.shape`, `X.compressed` and `X.bitmask`, made by the library; all else is as it was.

Run from the repository's root, with torch, safetensors and compressed-tensors 0.9. `check FILE DENSE` reads a file of ours with the
library and compares it with a dense export.
"""

import re
import sys

import torch
from compressed_tensors.compressors.sparse_compressors.sparse_24_bitmask import Sparse24BitMaskTensor, get_24_bytemasks
from safetensors.torch import load_file, save_file

FOLDER = "Tests/Goldens/containers"
SPARSE = re.compile(r"blocks\.\d+\.(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.weight")


def record():
    state = {}
    for name, tensor in load_file(f"{FOLDER}/dit.safetensors").items():
        if SPARSE.fullmatch(name):
            kept = torch.where(get_24_bytemasks(tensor), tensor, torch.zeros_like(tensor))
            state |= Sparse24BitMaskTensor.from_dense(kept).dict(name)
        else:
            state[name] = tensor
    save_file(state, f"{FOLDER}/dit-sparse-24.safetensors", metadata={"format": "pt"})


def check(path, dense):
    ours, whole, count = load_file(path), load_file(dense), 0
    for name in [name for name in ours if name.endswith(".compressed")]:
        layer = name.removesuffix(".compressed")
        parts = {part: ours[f"{layer}.{part}"] for part in ("compressed", "bitmask")}
        matrix = Sparse24BitMaskTensor.from_compressed_data(shape=ours[f"{layer}.shape"].flatten(), **parts).decompress()
        assert torch.equal(matrix, whole[f"{layer}.weight"]), layer
        count += 1
    print(f"{count} matrices are read as they are")


if __name__ == "__main__":
    check(*sys.argv[2:]) if sys.argv[1:2] == ["check"] else record()
