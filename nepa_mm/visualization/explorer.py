"""The maps of some images and checkpoints as one HTML file that needs no network.

Maps are stored as numbers and drawn in the browser (page/explorer.js, which unpacks what :func:`packed` writes).

Shapes: H heads, L tokens (one before the patches, if any, then the patches), T patches, M maps.
"""
import base64
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

import numpy as np
from matplotlib.colors import Colormap
from mmengine.model import BaseModel
from PIL import Image

from .patch_maps import PatchMaps
from .query_patches import ATTENTION, SIMILARITY, chosen
from .read_image import picture, pixels_of

LEVELS = 63  # Of attention relative to the most that a token pays to any patch: as fine as colours look, and it packs well
SHARE = 65535  # Of shares of attention
PICTURE = 448  # Pixels of the longer side of a picture, or what the model sees if that is more


def packed(*arrays: np.ndarray) -> str:
    """Arrays one after the other, compressed as gzip does without its header, in base64."""
    return base64.b64encode(zlib.compress(b''.join(array.tobytes() for array in arrays), 9)).decode()


def quantized_attention(weights: np.ndarray, num_extra_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Attention [M, L, L] in integers.

    Returns:
        Shares [M, L, 2] of 65535, the most that a token pays to a patch and what it pays to the tokens before the patches; and
        maps [M, L, T] of that most, in 63 levels.
    """
    patches = weights[..., num_extra_tokens:]  # [M, L, T]
    most = patches.max(-1)
    shares = np.stack([most, weights[..., :num_extra_tokens].sum(-1)], axis=-1)
    levels = patches / np.maximum(most, np.finfo(np.float32).tiny)[..., None]
    return (shares * SHARE).round().astype('<u2'), (levels * LEVELS).round().astype(np.uint8)


def quantized_similarity(cosine: np.ndarray) -> np.ndarray:
    """Cosine [L, T] in integers from -127 to 127."""
    return (cosine * 127).round().astype(np.int8)


class PackedMaps:
    """All maps of one model and image, packed: similarity, and of each layer the attention of each head and their mean."""

    def __init__(self, maps: PatchMaps, layers: Sequence[int], with_heads: bool) -> None:
        self.similarity = packed(quantized_similarity(maps.similarity()[0].numpy()))
        self.means, self.heads = {}, {}
        for layer in layers:
            weights = maps.attention(layer)[0].numpy()  # [H, L, L]
            self.means[layer] = packed(*quantized_attention(weights.mean(0, keepdims=True), maps.num_extra_tokens))
            if with_heads:
                # The mean of heads is stored beside them: of integers relative to each head's most it would be less exact
                self.heads[layer] = packed(*quantized_attention(weights, maps.num_extra_tokens))


def spread(indices: Sequence[int]) -> Iterator[int]:
    """Indices in an order of which every beginning is spread over all: the last, the first, the middle, ..."""
    left = list(indices)
    taken = []
    while left:
        # The farthest from all that are taken, the later of equals
        best = max(left, key=lambda index: (min((abs(index - other) for other in taken), default=0), index))
        left.remove(best)
        taken.append(best)
        yield best


class Explorer:
    """One page from images and models, which are seen one after the other and not kept.

    Args:
        images: Of any size, as :func:`read_image` gives them.
        names: A name for each image.
    """

    def __init__(self, images: Sequence[Image.Image | np.ndarray], names: Sequence[str]) -> None:
        self.images, self.names = images, names
        self.models, self.packed_maps, self.sizes = [], [], []

    def add(self, model: BaseModel, name: str, size: tuple[int, int], layers: str | Sequence[int] = 'all',
            with_heads: bool = True) -> None:
        """See all images with one model.

        Args:
            model: Likewise as of :class:`PatchMaps`.
            name: What the page calls it.
            size: Height and width of the images that it takes.
            layers: Blocks whose attention the page shows: indices, or 'all'.
            with_heads: Whether single heads may be shown, or their mean alone.

        Raises:
            ConfigError: For a layer that is not there.
        """
        seen = []
        for image in self.images:
            maps = PatchMaps(model, pixels_of([image], size))
            kept = sorted(set(chosen('layers', layers, maps.num_layers)[0]))
            seen.append(PackedMaps(maps, kept, with_heads))
        self.packed_maps.append(seen)
        self.sizes.append(size)
        self.models.append(dict(
            name=name, grid=maps.grid, patch=[side / full for side, full in zip(maps.patch_size, size)],
            extra=maps.num_extra_tokens, causal=maps.causal, predicts=maps.predicts, layers=kept, heads=maps.num_heads))

    def page(self, max_bytes: float) -> str:
        """The page; single heads of as many layers, spread over the depth, as ``max_bytes`` have room for.

        ``models[i]['with_heads']`` says which layers of a model these are.
        """
        for model in self.models:
            model['with_heads'] = []
        size = max(self.sizes)
        scale = max(1, PICTURE / max(size))
        size = tuple(round(side * scale) for side in size)
        pictures = []
        for image in self.images:
            file = io.BytesIO()
            picture(image, size).save(file, 'JPEG', quality=88)
            pictures.append(f'data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}')
        blocks = {}
        for m, seen in enumerate(self.packed_maps):
            for i, one in enumerate(seen):
                blocks[f'similarity-{m}-{i}'] = one.similarity
                blocks.update({f'mean-{m}-{i}-{layer}': text for layer, text in one.means.items()})
        used = len(self.written(pictures, blocks).encode())
        for m, layer in self.layers_in_turn():
            heads = {f'heads-{m}-{i}-{layer}': one.heads[layer] for i, one in enumerate(self.packed_maps[m])}
            needed = sum(len(block(name, text)) for name, text in heads.items()) + 8
            if used + needed > max_bytes:
                break
            used += needed
            blocks.update(heads)
            self.models[m]['with_heads'].append(layer)
        return self.written(pictures, blocks)

    def layers_in_turn(self) -> Iterator[tuple[int, int]]:
        """Models and layers that have single heads, the most telling first: each model in turn, its layers spread."""
        orders = [list(spread(list(seen[0].heads))) for seen in self.packed_maps]
        for place in range(max(map(len, orders))):
            for m, order in enumerate(orders):
                if place < len(order):
                    yield m, order[place]

    def written(self, pictures: Sequence[str], blocks: dict[str, str]) -> str:
        about = dict(
            images=[dict(name=name, picture=picture) for name, picture in zip(self.names, pictures)], models=self.models,
            levels=LEVELS, share=SHARE, colours=dict(attention=colours_of(ATTENTION), similarity=colours_of(SIMILARITY)))
        parts = {name: files(__package__).joinpath(f'page/explorer.{name}').read_text() for name in ('html', 'css', 'js')}
        parts['title'] = escape(f'{", ".join(model["name"] for model in self.models)}: what NEPA sees')
        # No name may end the script that it is part of
        parts['about'] = json.dumps(about, separators=(',', ':')).replace('<', '\\u003c')
        parts['data'] = ''.join(block(name, text) for name, text in blocks.items())
        return re.sub(r'{{(\w+)}}', lambda place: parts[place[1]], parts['html'])  # in one go: a name may be {{data}}


def block(name: str, text: str) -> str:
    """Packed maps as an element that no browser shows or runs."""
    return f'<script type="text/plain" id="{name}">{text}</script>\n'


def colours_of(colours: Colormap) -> list[str]:
    return ['#' + bytes(rgb).hex() for rgb in colours(np.arange(256), bytes=True)[:, :3]]
