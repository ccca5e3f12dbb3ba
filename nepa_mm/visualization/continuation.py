"""How a model goes on from the first rows of an image: embeddings predicted from predicted ones, shown by real patches.

Shapes: B images, L tokens ([CLS], if any, then the patches in raster order), D width, h x w grid of patches of p x p pixels,
N patches of a bank, Q predictions.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from mmengine.model import BaseModel
from torch import Tensor

from nepa_mm.errors import ConfigError
from nepa_mm.models import NEPA
from nepa_mm.models.causal_backbone import CausalBackbone, evaluating

from .patch_maps import normalised_pixels, patch_size_of
from .read_image import pictures

AT_ONCE = 16  # images of a bank
UNKNOWN = 217  # grey of what the model is not given


@torch.no_grad()
def roll_forward(backbone: CausalBackbone, z: Tensor, image_size: tuple[int, int], given: int, length: float | Tensor) -> Tensor:
    """Predict the tokens after the first ``given`` ones, each from those and from the predictions before it.

    What is predicted at position t becomes the input at t + 1. NEPA's loss is a cosine, which leaves the length of a prediction
    undetermined: it is set to ``length`` before it is fed back. There is nothing to draw, so that there is one continuation.
    Each token takes a pass over the whole sequence.

    Args:
        backbone: With causal attention, in evaluation mode.
        z: What :meth:`embed` gives, [B, L, D]; tokens after the given ones are not looked at.
        image_size: Height and width in pixels.
        given: Tokens from the first that stay, [CLS] among them; 1 or more.
        length: Euclidean norm of the inputs that are predictions, one for all or [B, 1] for each image.

    Returns:
        [B, L - given, D], as predicted, of any length.
    """
    inputs = z.clone()
    inputs[:, given:] = 0
    predicted = []
    for t in range(given, z.shape[1]):
        predicted.append(backbone.predict(inputs, image_size)[:, t - 1])  # [B, D]
        inputs[:, t] = F.normalize(predicted[-1], dim=-1) * length
    return torch.stack(predicted, dim=1)


@dataclass
class PatchBank:
    """Real patches and their embeddings.

    Args:
        embeddings: [N, D], of any length.
        patches: [N, p, p, 3], uint8, RGB.
        images: [N], the image that each is of.
    """
    embeddings: Tensor
    patches: np.ndarray
    images: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: NEPA, pixels: Tensor) -> 'PatchBank':
        """All patches of images [B, C, H, W] that :func:`pixels_of` gave, numbered in their order."""
        extra = model.backbone.num_extra_tokens
        with evaluating(model):
            z = torch.cat([model.backbone.embed(normalised_pixels(model, part))[:, extra:].float()
                           for part in pixels.split(AT_ONCE)])  # [B, h * w, D]
        patches = cut_of(model, pixels)
        count = torch.arange(len(pixels), device=z.device)
        return cls(z.flatten(0, 1), patches.reshape(-1, *patches.shape[2:]), count.repeat_interleave(z.shape[1]))

    def length(self, without: int | None = None) -> float:
        """Mean Euclidean norm of the embeddings, leaving out those of one image."""
        return self.embeddings[self.images != (-1 if without is None else without)].norm(dim=-1).mean().item()

    def nearest(self, predictions: Tensor, without: int | None = None) -> Tensor:
        """Of predictions [Q, D], the patches whose embeddings have the largest cosine, [Q]; those of one image are left out."""
        cosines = F.normalize(predictions.float(), dim=-1) @ F.normalize(self.embeddings, dim=-1).T  # [Q, N]
        if without is not None:
            cosines[:, self.images == without] = -torch.inf
        return cosines.argmax(dim=1)


def cut_of(model: NEPA, pixels: Tensor) -> np.ndarray:
    """What a person sees of images [B, C, H, W], in the model's patches."""
    return cut(pictures(pixels), patch_size_of(model.backbone, tuple(pixels.shape[-2:])))


def cut(images: np.ndarray, patch_size: tuple[int, int]) -> np.ndarray:
    """Images [B, H, W, 3] in h * w patches each, [B, h * w, p, p, 3]; a last patch that sticks out repeats the border."""
    bottom, right = (-size % side for size, side in zip(images.shape[1:3], patch_size))
    images = np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)), mode='edge')
    height, width = patch_size
    patches = images.reshape(len(images), images.shape[1] // height, height, -1, width, 3).swapaxes(2, 3)  # [B, h, w, p, p, 3]
    return patches.reshape(len(images), -1, height, width, 3)


def joined(patches: np.ndarray, grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Patches [h * w, p, p, 3] of one image as [H, W, 3], what sticks out cut off."""
    rows = patches.reshape(*grid, *patches.shape[1:]).swapaxes(1, 2)  # [h, p, w, p, 3]
    return rows.reshape(grid[0] * patches.shape[1], grid[1] * patches.shape[2], 3)[:size[0], :size[1]]


@dataclass
class Continuation:
    """Patches of one image after the given rows, as the model predicts them.

    Args:
        patches: Name of a way to choose patches -> [h * w, p, p, 3], those that are given included.
        cosines: Mean cosine with the true embeddings, of what is predicted in two ways and of the real patch before each.
    """
    patches: dict[str, np.ndarray]
    cosines: dict[str, float]


ROLLED, ONE_STEP, BEST, BEFORE = 'rolled forward', 'one step', 'nearest to the true', 'the patch before'


def continuations(model: NEPA, pixels: Tensor, rows: int, bank: PatchBank, own: Sequence[int | None]) -> list[Continuation]:
    """Continue each image after its first rows of patches, by the nearest patches of a bank.

    'rolled forward' feeds predictions back; 'one step' predicts each patch from the real ones before it; 'nearest to the true'
    predicts nothing and is the best that a continuation by this bank can look like.

    Args:
        model: A pretraining model with causal attention.
        pixels: Images [B, C, H, W] that :func:`pixels_of` gave.
        rows: Rows of patches that are given.
        bank: Of patches of the same size.
        own: For each image its number in the bank, whose patches are left out, or None if it is not in it.

    Raises:
        ConfigError: For a model that predicts no next embedding from those before, or rows that leave nothing to predict.
    """
    if not isinstance(model, NEPA) or not model.backbone.causal or model.target != 'embedding':
        raise ConfigError('it does not predict the embedding of the next patch from those before it', 'the model',
                          "give a pretraining checkpoint with causal attention and target='embedding'")
    size, extra = tuple(pixels.shape[-2:]), model.backbone.num_extra_tokens
    grid = model.backbone.grid(size)
    if not 0 < rows < grid[0]:
        raise ConfigError(f'{rows} of {grid[0]} rows of patches', 'rows', f'give 1 to {grid[0] - 1}')
    given = rows * grid[1]
    lengths = torch.tensor([[bank.length(number)] for number in own], device=bank.embeddings.device)  # [B, 1]
    with torch.no_grad(), evaluating(model):
        z = model.backbone.embed(normalised_pixels(model, pixels))  # [B, L, D]
        one_step = model.backbone.predict(z, size)[:, extra + given - 1:-1]  # [B, Q, D]
        rolled = roll_forward(model.backbone, z, size, extra + given, lengths.to(z.dtype))  # [B, Q, D]
    true, before, real = z[:, extra + given:], z[:, extra + given - 1:-1], cut_of(model, pixels)
    found = []
    for b, number in enumerate(own):
        patches = {way: np.concatenate([real[b, :given], bank.patches[bank.nearest(tokens[b], number).cpu().numpy()]])
                   for way, tokens in ((ROLLED, rolled), (ONE_STEP, one_step), (BEST, true))}
        cosines = {way: F.cosine_similarity(tokens[b].float(), true[b].float(), dim=-1).mean().item()
                   for way, tokens in ((ROLLED, rolled), (ONE_STEP, one_step), (BEFORE, before))}
        found.append(Continuation(patches, cosines))
    return found


def draw_continuations(model: BaseModel, pixels: Tensor, rows: int, bank: PatchBank, own: Sequence[int | None],
                       names: Sequence[str]) -> Figure:
    """Each image in a row: original, given rows, rolled forward, one step at a time, and the best that the bank has.

    Args:
        names: A title for each image; all others as of :func:`continuations`.
    """
    found, images, size = continuations(model, pixels, rows, bank, own), pictures(pixels), tuple(pixels.shape[-2:])
    grid, below = model.backbone.grid(size), rows * patch_size_of(model.backbone, size)[0]  # pixels of the given rows
    figure = Figure(figsize=(10.2, 2.2 * len(images) * size[0] / size[1] + 1.2), layout='constrained', dpi=120)
    axes = figure.subplots(len(images), 5, squeeze=False)
    titles = ['original', 'given', 'rolled forward:\nfrom predictions', 'one step:\nfrom the real patches',
              'no prediction:\nnearest to the true']
    for line, image, continuation, name in zip(axes, images, found, names):
        start = image.copy()
        start[below:] = UNKNOWN
        shown = [image, start, *(joined(patches, grid, size) for patches in continuation.patches.values())]
        cosine = continuation.cosines
        notes = ['', '', f'cosine {cosine[ROLLED]:.2f}', f'cosine {cosine[ONE_STEP]:.2f}, patch before {cosine[BEFORE]:.2f}', '']
        for axis, picture, title, note in zip(line, shown, titles, notes):
            axis.imshow(picture, interpolation='nearest')
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.set_xlabel(note, fontsize=8)
            if axis in axes[0]:
                axis.set_title(title, fontsize=8)
        for axis in line[2:]:
            axis.axhline(below - 0.5, color='white', linewidth=0.8, linestyle=(0, (3, 2)))
        line[0].set_ylabel(name, fontsize=8)
    figure.supxlabel(
        f'Below the dashed line: nearest patches, by cosine, of {len(bank.patches)} of a bank; no pixel is generated.\n'
        'Rolled forward is one deterministic guess: predictions are scaled to the mean length of embeddings and fed back.\n'
        'Cosine: of the prediction, and of the real patch before, with the true embedding; mean over positions.', fontsize=8)
    return figure
