"""What query patches look at and what they predict: the triplets of the paper's Figures 5 and 9.

Shapes: B batch, H heads, L tokens, h x w grid of patches, T = h * w patches, Q queries.
"""
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from mmengine.model import BaseModel
from torch import Tensor

from nepa_mm.errors import ConfigError

from .patch_maps import PatchMaps
from .read_image import pictures

# Even steps to the eye, for people who see no red or green too
ATTENTION, SIMILARITY = colormaps['viridis'], colormaps['coolwarm']
UNSEEN = (0.85, 0.85, 0.85)


def chosen(name: str, choice: int | str | Sequence[int], count: int) -> tuple[list[int], bool]:
    """Indices of layers or heads that a choice means, from 0, and whether their mean is asked for.

    Args:
        name: 'layers' or 'heads', for the error.
        choice: 'mean' of all, 'all' one by one, or indices, negative ones from the end.

    Raises:
        ConfigError: For an index that is not there.
    """
    if choice in ('mean', 'all'):
        return list(range(count)), choice == 'mean'
    indices = [choice] if isinstance(choice, int) else list(choice)
    for index in indices:
        if not isinstance(index, int) or not -count <= index < count:
            raise ConfigError(f'{index!r} is not there: this model has {count}', name,
                              f"choose from {-count} to {count - 1}, 'mean' or 'all'")
    return [index % count for index in indices], False


def default_queries(grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Three patches, (row, column): one early in the raster order, one in the middle, one late."""
    return [(row * grid[0] // 8, column * grid[1] // 8) for row, column in ((2, 3), (4, 4), (6, 5))]


def attention_panels(maps: PatchMaps, layers: int | str | Sequence[int], heads: int | str | Sequence[int],
                     tokens: Sequence[int]) -> list[tuple[str, Tensor]]:
    """Title and attention [B, Q, L] of each panel: one for each chosen layer and head, or for their mean."""
    layer_ids, mean_layer = chosen('layers', layers, maps.num_layers)
    head_ids, mean_head = chosen('heads', heads, maps.num_heads)
    weights = {layer: maps.attention(layer, tokens)[:, head_ids] for layer in layer_ids}  # [B, H, Q, L]
    if mean_head:
        weights = {layer: weight.mean(1, keepdim=True) for layer, weight in weights.items()}
    if mean_layer:
        weights = {'mean': torch.stack(list(weights.values())).mean(0)}
    head_names = ['mean of heads'] if mean_head else [f'head {head}' for head in head_ids]
    return [(f'{"mean of layers" if layer == "mean" else f"layer {layer}"}, {name}', weight[:, i])
            for layer, weight in weights.items() for i, name in enumerate(head_names)]


def draw_query_patches(model: BaseModel, pixels: Tensor, queries: Sequence[tuple[int, int]] | None = None,
                       layers: int | str | Sequence[int] = -1, heads: int | str | Sequence[int] = 'mean',
                       columns: int | None = None, names: Sequence[str] | None = None) -> Figure:
    """For each image and query patch: the query, the attention it pays, the similarity of its prediction to all patches.

    Args:
        model: :class:`NEPA`, or a classifier or segmentor over a backbone that NEPA can train.
        pixels: Images [B, 3, H, W], uint8, RGB; or [B, C, H, W] of such as are not, see :func:`pixels_of`.
        queries: (row, column) of query patches, from 0; three when not given.
        layers: Blocks whose attention is shown, a panel each: indices, 'all', or 'mean' of all.
        heads: Likewise.
        columns: Triplets side by side; all queries of an image when not given.
        names: A title for each image.

    Raises:
        ConfigError: For a query, layer or head that is not there.
    """
    maps = PatchMaps(model, pixels)
    queries = default_queries(maps.grid) if queries is None else list(queries)
    tokens = [maps.token(query) for query in queries]
    panels, similarity = attention_panels(maps, layers, heads, tokens), maps.similarity(tokens)
    images = pictures(pixels)

    triplets = [(b, i) for b in range(len(images)) for i in range(len(queries))]
    columns = min(columns or len(queries), len(triplets))
    width, rows = 2 + len(panels), -(-len(triplets) // columns)
    figure = Figure(figsize=(1.75 * width * columns + 1.6, 1.95 * rows + 0.7), layout='constrained', dpi=120)
    shares = ([1] * width + [0.08]) * columns  # a gap after each triplet
    axes = figure.subplots(rows, len(shares), squeeze=False, gridspec_kw=dict(width_ratios=shares))
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (b, i) in enumerate(triplets):
        row, column = divmod(place, columns)
        asked, *attended, similar, _ = axes[row, (width + 1) * column:(width + 1) * (column + 1)]
        draw_query(asked, maps, images[b], queries[i])
        for axis, (title, weights) in zip(attended, panels):
            draw_attention(axis, maps, weights[b, i], tokens[i])
            axis.set_title(f'attention\n{title}' if row == 0 else '', fontsize=8)
        similar.imshow(similarity[b, i].reshape(maps.grid).numpy(), cmap=SIMILARITY, vmin=-1, vmax=1, interpolation='nearest',
                       extent=extent_of(maps))
        outline_query_and_next(similar, maps, queries[i])
        name = f'{names[b]}\n' if names and (i == 0 or column == 0) else '\n' if names or row == 0 else ''
        asked.set_title(f'{name}query {queries[i][0]}, {queries[i][1]}', fontsize=8, loc='left')
        if row == 0:
            similar.set_title('similarity\n' + ('of the prediction' if maps.predicts else 'of the output'), fontsize=8)
    add_legends(figure, axes, maps)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.06)
    return figure


def draw_query(axis: Axes, maps: PatchMaps, picture: np.ndarray, query: tuple[int, int]) -> None:
    """The image with the query in red; what it has not seen is pale, and what it predicts is dashed."""
    axis.imshow(picture, interpolation='nearest')
    if maps.causal:
        veil = np.zeros((*maps.grid, 4))
        veil[..., :3] = 1
        veil[..., 3].flat[maps.token(query) - maps.num_extra_tokens + 1:] = 0.55
        axis.imshow(veil, interpolation='nearest', extent=extent_of(maps))
    axis.set_xlim(0, picture.shape[1])
    axis.set_ylim(picture.shape[0], 0)
    outline_query_and_next(axis, maps, query)


def draw_attention(axis: Axes, maps: PatchMaps, weights: Tensor, token: int) -> None:
    """Attention [L] that a token pays to the patches, relative to the largest; what it cannot see is grey."""
    paid = weights[maps.num_extra_tokens:].numpy().copy()
    paid /= max(paid.max(), np.finfo(np.float32).tiny)
    if maps.causal:
        paid[token - maps.num_extra_tokens + 1:] = np.nan
    axis.imshow(np.full((*maps.grid, 3), UNSEEN), extent=extent_of(maps))
    axis.imshow(paid.reshape(maps.grid), cmap=ATTENTION, vmin=0, vmax=1, interpolation='nearest', extent=extent_of(maps))


def extent_of(maps: PatchMaps) -> tuple[float, float, float, float]:
    """Where the grid of patches lies in pixels, as matplotlib wants it."""
    return 0, maps.grid[1] * maps.patch_size[1], maps.grid[0] * maps.patch_size[0], 0


def outline_query_and_next(axis: Axes, maps: PatchMaps, query: tuple[int, int]) -> None:
    """A frame around the query, and a dashed one around the patch that it predicts, if it does."""
    height, width = maps.patch_size
    following = divmod(query[0] * maps.grid[1] + query[1] + 1, maps.grid[1])
    if maps.causal and maps.predicts and following[0] < maps.grid[0]:
        axis.add_patch(Rectangle((following[1] * width, following[0] * height), width, height, fill=False, edgecolor='black',
                                 linewidth=1, linestyle=(0, (2, 1.5))))
    axis.add_patch(Rectangle((query[1] * width, query[0] * height), width, height, fill=False, edgecolor='red', linewidth=1.6,
                             path_effects=[withStroke(linewidth=3.2, foreground='white')]))  # on red maps, too


def add_legends(figure: Figure, axes: np.ndarray, maps: PatchMaps) -> None:
    """Scales of the two kinds of maps, and a line that says how to read them."""
    for colours, low, label in ((SIMILARITY, -1, f'cosine of the {"prediction" if maps.predicts else "output"} with each patch'),
                                (ATTENTION, 0, 'attention, 1 is the most in a map')):
        bar = figure.colorbar(ScalarMappable(Normalize(low, 1), colours), ax=axes, shrink=0.8, aspect=30, pad=0.01)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=8)
    if maps.causal:
        predicted = ', dashed: the patch that it predicts' if maps.predicts else ''
        figure.supxlabel(f'red: the query{predicted}, pale or grey: not seen yet', fontsize=8)
