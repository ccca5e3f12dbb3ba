"""What arXiv 2512.16922 reports: the one place of the paper's numbers, which pages, headers and metafiles repeat.

``PAPER`` has by table and row the value, in percent: top-1 on ImageNet-1k; in Table 3 mIoU on ADE20K, single scale. 'fails' is a
training that ends in nothing. Rows of Table 2 have epochs of pretraining and forward passes a step before it.
"""
FAILS = 'fails'

PAPER = {
    # 50,000 steps of 2048 images
    '1a': {'no shift': FAILS, 'no causal mask': 73.6, 'no stop-gradient': FAILS, 'all three': 76.8},
    # 100,000 steps of 2048 images, to 1e
    '1b': {
        'plain ViT': 78.2,
        '+ LayerScale': 77.4,
        '+ RoPE': 80.2,
        '+ gated MLP, without QK-norm': FAILS,
        '+ QK-norm': 81.1,
        '+ QK-norm, gated MLP': 81.3,
    },
    '1c': {'nothing masked': 78.2, '40 % masked': 76.4, '60 % masked': 75.7},
    '1d': {'embedding trained': 73.1, 'embedding frozen': 77.4},
    '1e': {'causal': 81.3, 'bidirectional': 82.5},
    '2': {
        'MoCo v3, B': (600, 2, 83.2),
        'BEiT, B': (800, 1, 83.4),
        'DINO, B': (1600, 'N', 83.6),
        'MAE, B': (1600, 1, 83.6),
        'NEPA, causal, B': (1600, 1, 82.5),
        'NEPA, bidirectional, B': (1600, 1, 83.8),
        'MoCo v3, L': (600, 2, 84.1),
        'iBOT, L': (1000, 4, 84.8),
        'BEiT, L': (800, 1, 85.2),
        'MAE, L': (1600, 1, 85.6),
        'I-JEPA, L': (300, 2, 85.2),
        'NEPA, causal, L': (800, 1, 84.1),
        'NEPA, bidirectional, L': (800, 1, 85.3),
    },
    '3': {
        'supervised, B': 47.4,
        'MoCo v3, B': 47.3,
        'BEiT, B': 47.1,
        'MAE, B': 48.1,
        'NEPA, B': 48.3,
        'supervised, L': 49.9,
        'MoCo v3, L': 49.1,
        'BEiT, L': 53.3,
        'MAE, L': 53.6,
        'NEPA, L': 54.0,
    },
    '6': {'last token, B': 11.3, 'mean token, B': 14.1},
    '7': {'MAE-L': 85.6, '+ LayerScale': 85.5, '+ RoPE': 85.6, '+ QK-norm': 85.6},
    '8': {'decay fixed at 0.65': 83.0, 'decay rising from 0.35 to 1': 83.8},
    '9': {'SwiGLU': 83.8, 'GELU': 83.6},
}
# Of the authors' release, in its readme
RELEASE = {'B': 83.75, 'L': 85.4}


def figure(table: str, row: str) -> str:
    """A value of ``PAPER`` as pages have it, of Table 2 the accuracy."""
    value = PAPER[table][row]
    return str(value[-1] if isinstance(value, tuple) else value)
