"""Blocks of every quantised type that is read from GGUF files, random bytes, with their values by llama.cpp's own `gguf` package.

python scripts/goldens/gguf_blocks.py tests/golden/gguf/blocks.safetensors    (pip: gguf==0.19.0, numpy, safetensors)
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize
from safetensors.numpy import save_file

TYPES = [Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
TYPES += [Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K]

random = np.random.default_rng(11)
tensors = {}
for kind in TYPES:
    values, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (2, 512 // values, size), dtype=np.uint8)
    # Scales are f16: no infinite ones.
    places = {Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q6_K: [208]}.get(kind, [0, 2] if size % 4 == 0 else [0])
    for at in [] if kind == Type.BF16 else places:
        blocks[:, :, at + 1] &= 0xBF
    blocks = blocks.reshape(2, -1)
    tensors[f"{kind.value}.blocks"] = blocks
    tensors[f"{kind.value}.values"] = dequantize(blocks, kind).astype(np.float32).reshape(2, 512)
save_file(tensors, sys.argv[1])
