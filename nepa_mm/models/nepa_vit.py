"""The causal vision transformer of NEPA (arXiv 2512.16922, section 3.2), usable as a backbone anywhere in mm.

Shapes: B batch, L tokens ([CLS], if any, then the patches in raster order), D width, h x w grid of patches.
"""
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed, to_2tuple, trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nepa_mm.checkpoints import untraced_settings
from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.registry import MODELS
from nepa_mm.variants import arch_settings, variant_of

from .block import QK_NORMS, Attend, Block, rotations_of_all
from .causal_backbone import warn_of_blind_outputs
from .compiled import check_with_cp
from .pretrained_backbone import PretrainedBackbone
from .rope2d import RoPE2D

OUT_TYPES = ('raw', 'cls_token', 'last_token', 'avg_featmap', 'featmap', 'padded_featmap')
ACTIVATIONS = ('gelu', 'gelu_tanh', 'quick_gelu', 'relu', 'silu')


@MODELS.register_module()
class NEPAViT(PretrainedBackbone):
    """Vision transformer with causal or bidirectional attention, 2-D RoPE, QK-norm and LayerScale.

    The defaults are the released variant. The paper's variant is ``with_cls_token=False, use_abs_pos_embed=True,
    act='silu', gated_mlp=True``. An image of any size works: it is padded on the right and at the bottom to whole patches
    by repeating its border, and a feature map covers exactly the image, padding excluded.

    Args:
        arch: A name in ``ARCHS`` of variants.py, or a dict with ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``.
        img_size: Usual image size in pixels; fixes the stored size of the absolute position embedding and nothing else.
        patch_size: Side of a patch in pixels.
        in_channels: Channels of the image.
        causal: Each token sees itself and those before it (pretraining); False for attention in both directions.
        out_type: What each output is: 'raw' [B, L, D], 'cls_token' [B, D], 'last_token' [B, D], 'avg_featmap' [B, D] (mean of
            the patch tokens, then another LayerNorm, the release's ``fc_norm``), 'featmap' [B, D, h, w] of the image, or
            'padded_featmap' [B, D, h, w] of whole patches, for :class:`PaddedEncoderDecoder`.
        out_indices: Blocks whose outputs are returned; negative ones count from the end.
        output_cls_token: Each feature map comes in a pair with [CLS] of the same block, [B, D], as of mmseg's ViT, for DPTHead.
        final_norm: Outputs that the final LayerNorm is applied to: 'last', that of the last block alone, or 'all'.
        with_cls_token: Prepend a [CLS] token.
        use_abs_pos_embed: Add a learned position embedding to the patches; resized for other image sizes.
        rope: Arguments of :class:`RoPE2D`; None for no rotary position embedding.
        qk_norm: LayerNorm of queries and keys: None, 'plain' (the release's base in pretraining), 'affine' (its large,
            and both in fine-tuning), 'affine_bias'.
        qkv_bias: Bias of the query, key and value projections.
        layer_scale_init_value: Start of LayerScale; None for none.
        act: Activation of the MLP by its timm name: 'gelu' (exact), 'gelu_tanh', 'quick_gelu', 'relu' or 'silu'.
        gated_mlp: Three-matrix MLP, ``act(gate(x)) * up(x)``; SwiGLU with ``act='silu'``.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 at the first.
        norm_eps: Epsilon of every LayerNorm.
        frozen_stages: -1 trains all; 0 freezes the patch embedding alone; n also [CLS], position embedding and the first n
            blocks; n = num_layers the whole backbone. Frozen blocks stay in evaluation mode: no stochastic depth, and RoPE's
            coordinates as they are. (The release's ``freeze_vit`` stops gradients alone, and leaves ``fc_norm`` to train.)
        with_cp: Recompute activations of the blocks in the backward pass to save memory; n for those of every n-th block.
        compile: Run the blocks through ``torch.compile`` while training; needs a C++ compiler.
        **kwargs: ``init_cfg`` and ``allow_unmatched`` of :class:`PretrainedBackbone`.

    Raises:
        ConfigError: For an unknown choice, an index out of range or sizes that do not fit, naming value and argument; for
            ``compile`` with ``with_cp`` under torch 2.4.
    """

    def __init__(self,
                 arch: str | dict = 'base',
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 14,
                 in_channels: int = 3,
                 causal: bool = True,
                 out_type: str = 'raw',
                 out_indices: int | Sequence[int] = -1,
                 output_cls_token: bool = False,
                 final_norm: str = 'last',
                 with_cls_token: bool = True,
                 use_abs_pos_embed: bool = False,
                 rope: dict | None = dict(theta=100., rescale=2.),
                 qk_norm: str | None = 'plain',
                 qkv_bias: bool = True,
                 layer_scale_init_value: float | None = 1e-5,
                 act: str = 'gelu',
                 gated_mlp: bool = False,
                 drop_path_rate: float = 0.,
                 norm_eps: float = 1e-12,
                 frozen_stages: int = -1,
                 with_cp: bool | int = False,
                 compile: bool = False,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        # What is asked for
        settings = arch_settings(arch)
        self.embed_dims, self.num_layers = settings['embed_dims'], settings['num_layers']
        if not isinstance(patch_size, int) or patch_size < 1:
            raise ConfigError(f'{patch_size!r} is no side of a square in pixels', 'patch_size', 'give a positive int')
        self.patch_size, self.causal, self.with_cp = patch_size, causal, with_cp
        self.out_type = checked_choice('out_type', out_type, OUT_TYPES)
        if out_type == 'cls_token' and not with_cls_token:
            raise ConfigError("'cls_token' needs with_cls_token=True", 'out_type',
                              "choose 'last_token', 'avg_featmap' or 'featmap'")
        if output_cls_token and not (with_cls_token and out_type in ('featmap', 'padded_featmap')):
            raise ConfigError(f'True, and out_type={out_type!r} with with_cls_token={with_cls_token} has no pairs of feature map '
                              'and [CLS]', 'output_cls_token', "set with_cls_token=True and 'featmap' or 'padded_featmap'")
        self.output_cls_token = output_cls_token
        self.out_indices = [checked_index(i, self.num_layers)
                            for i in ([out_indices] if isinstance(out_indices, int) else out_indices)]
        self.final_norm = checked_choice('final_norm', final_norm, ('last', 'all'))
        if not 0 <= drop_path_rate < 1:
            raise ConfigError(f'{drop_path_rate} is not in [0, 1), the share of dropped last blocks', 'drop_path_rate',
                              'give a share, such as 0.1')
        checked_choice('qk_norm', qk_norm, QK_NORMS)
        checked_choice('act', act, ACTIVATIONS)
        if not -1 <= frozen_stages <= self.num_layers:
            raise ConfigError(f'{frozen_stages} is not in [-1, {self.num_layers}]', 'frozen_stages',
                              f'-1 freezes nothing, 0 the patch embedding, n the first n of {self.num_layers} blocks as well')
        self.frozen_stages, self.is_frozen = frozen_stages, frozen_stages == self.num_layers
        warn_of_blind_outputs(causal, out_type)
        check_with_cp(with_cp, compile)

        # What it is made of
        self.patch_embed = nn.Conv2d(in_channels, self.embed_dims, patch_size, stride=patch_size)
        self.num_extra_tokens, self.cls_place = int(with_cls_token), 0
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.embed_dims)) if with_cls_token else None
        self.stored_grid = self.grid(to_2tuple(img_size))
        self.pos_embed = None
        if use_abs_pos_embed:
            if any(size % patch_size for size in to_2tuple(img_size)):
                raise ConfigError(f'{img_size} is not a multiple of patch_size={patch_size}, which the position embedding needs',
                                  'img_size', 'change one of them or set use_abs_pos_embed=False')
            self.pos_embed = nn.Parameter(torch.empty(1, self.stored_grid[0] * self.stored_grid[1], self.embed_dims))
        self.rope = None if rope is None else RoPE2D(self.embed_dims // settings['num_heads'], **rope)
        self.layers = nn.ModuleList(
            Block(self.embed_dims, settings['num_heads'], settings['feedforward_channels'], qk_norm, qkv_bias, act, gated_mlp,
                  layer_scale_init_value, drop_path, norm_eps, compile)
            for drop_path in np.linspace(0, drop_path_rate, self.num_layers).tolist())
        self.norm = nn.LayerNorm(self.embed_dims, eps=norm_eps)
        if out_type == 'avg_featmap':
            self.fc_norm = nn.LayerNorm(self.embed_dims, eps=norm_eps)

        # How it begins, and what its checkpoints say of it
        self.reset_parameters()
        for part in self.frozen_parts():
            part.requires_grad_(False)
        self.train()
        self.untraced_settings = untraced_settings(dict(arch=settings, qk_norm=qk_norm, act=act, rope=rope, norm_eps=norm_eps))
        self.variant = variant_of(dict(
            with_cls_token=with_cls_token, use_abs_pos_embed=use_abs_pos_embed, gated_mlp=gated_mlp, act=act))

    def reset_parameters(self) -> None:
        """Truncated normal (std 0.02) for matrices and tokens, zero for biases; norms and LayerScale keep their start."""
        if self.patch_embed.weight.is_meta:  # shapes, for which torch would go through it all, ViT-L for a second
            return
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for parameter in self.parameters(recurse=False):  # [CLS], position embedding
            trunc_normal_(parameter, std=0.02)

    # The two halves that NEPA joins

    def embed(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> input tokens [B, L, D]: [CLS], if any, and the patch embeddings without any position."""
        z = self.patch_embed(self.padded(x)).flatten(2).transpose(1, 2)  # [B, D, h, w] -> [B, h * w, D]
        if self.cls_token is not None:
            z = torch.cat([self.cls_token.expand(z.shape[0], -1, -1), z], dim=1)  # [B, 1 + h * w, D]
        return z

    def padded(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W], continued on the right and at the bottom to whole patches."""
        height, width = x.shape[-2:]
        rows, columns = self.grid((height, width))
        right, bottom = columns * self.patch_size - width, rows * self.patch_size - height
        if right or bottom:  # the border is repeated: a black or grey edge would be a thing to see
            x = F.pad(x, (0, right, 0, bottom), mode='replicate')
        return x

    def predict(self, z: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Input tokens [B, L, D] of an image of H x W pixels -> what follows each, [B, L, D], after the final norm."""
        for x in self.hidden_states(z, image_size):  # a list would keep every block's output
            pass
        return x

    def hidden_states(self, z: Tensor, image_size: tuple[int, int]) -> Iterator[Tensor]:
        """Yield the output [B, L, D] of each block in turn, the last one, or as ``final_norm`` says, after the final norm."""
        return self.run_blocks(self.add_position(z, self.grid(image_size)), *self.rope_tables(image_size, z.device))

    def run_blocks(self, x: Tensor, rope: Tensor | None, frozen_rope: Tensor | None = None) -> Iterator[Tensor]:
        """Likewise, from tokens [B, L, D] with their position and what :meth:`rope_tables` gives, [..., T, 2 * head_dim]."""
        rope, frozen_rope = (table if table is None else self.rotations(table) for table in (rope, frozen_rope))
        return self.run_rotated(x, rope, frozen_rope, self.causal)

    def rotations(self, table: Tensor, ahead: int = 0) -> Tensor:
        """Rotations of all tokens, of the patches' [..., T, 2 * head_dim]; ``ahead`` more before them are turned by nothing."""
        return rotations_of_all(table, ahead + self.num_extra_tokens)

    def run_rotated(self, x: Tensor, rope: Tensor | None, frozen_rope: Tensor | None, causal: Attend) -> Iterator[Tensor]:
        """Likewise, from the rotations of all tokens."""
        for i, state in enumerate(self.run_without_norm(x, rope, frozen_rope, causal)):
            is_normed = i + 1 == self.num_layers or (self.final_norm == 'all' and i in self.out_indices)
            yield self.norm(state) if is_normed else state

    def run_without_norm(self, x: Tensor, rope: Tensor | None, frozen_rope: Tensor | None, causal: Attend) -> Iterator[Tensor]:
        """Likewise, and no output is after the final norm."""
        for i in range(self.num_layers):
            x = self.run_block(i, x, frozen_rope if i < self.frozen_stages else rope, causal)
            yield x

    def run_block(self, i: int, x: Tensor, rotations: Tensor | None, causal: Attend) -> Tensor:
        """One block, whose activations are recomputed if ``with_cp`` says so; ``rotations`` are those of all tokens."""
        if self.with_cp and self.training and i % self.with_cp == 0:
            return checkpoint(self.layers[i], x, rotations, causal, use_reentrant=False)
        return self.layers[i](x, rotations, causal)

    def rope_tables(self, image_size: tuple[int, int], device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """Rotations of the patches for blocks that train and, if there are any, for frozen ones."""
        frozen = self.rope_table(image_size, device, moves=False) if self.frozen_stages > 0 else None
        return self.rope_table(image_size, device), frozen

    def rope_table(self, image_size: tuple[int, int], device: torch.device, moves: bool = True) -> Tensor | None:
        """Rotations [h * w, 2 * head_dim] of the patches of an image of H x W pixels; None without RoPE."""
        extent = tuple(size / self.patch_size for size in image_size)
        return None if self.rope is None else self.rope(self.grid(image_size), extent, device, moves)

    def add_position(self, z: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add the learned position embedding, if any, to the patch tokens of [B, L, D]."""
        if self.pos_embed is None:
            return z
        position = resample_abs_pos_embed(self.pos_embed, grid, self.stored_grid, num_prefix_tokens=0)  # [1, h * w, D]
        return z + F.pad(position, (0, 0, self.num_extra_tokens, 0))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches that cover an image of H x W pixels."""
        if min(image_size) < self.patch_size:
            raise ConfigError(f'an image of {image_size[0]}x{image_size[1]} pixels is smaller than one patch ({self.patch_size})',
                              'patch_size', 'use larger images (img_size, crop_size) or smaller patches')
        return tuple(-(-size // self.patch_size) for size in image_size)

    # The backbone

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | tuple[tuple[Tensor, Tensor], ...]:
        """Images [B, C, H, W] -> one output of kind ``out_type`` for each of ``out_indices``, with [CLS] if asked for."""
        return self.outputs(self.embed(x), tuple(x.shape[-2:]))

    def outputs(self, z: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, ...] | tuple[tuple[Tensor, Tensor], ...]:
        """Likewise, from input tokens [B, L, D] of images of H x W pixels."""
        states = self.hidden_states(z, image_size)
        return tuple(self.output(state, image_size) for i, state in enumerate(states) if i in self.out_indices)

    def output(self, x: Tensor, image_size: tuple[int, int]) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens [B, L, D] of a block -> its output, with [CLS] if asked for."""
        output = self.format_output(x, image_size)
        return (output, x[:, self.cls_place]) if self.output_cls_token else output

    def format_output(self, x: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Tokens [B, L, D] -> the form that ``out_type`` asks for."""
        if self.out_type == 'raw':
            return x
        if self.out_type in ('cls_token', 'last_token'):
            return x[:, self.cls_place if self.out_type == 'cls_token' else -1]
        patches = x[:, self.num_extra_tokens:]  # [B, h * w, D]
        if self.out_type == 'avg_featmap':
            return self.fc_norm(patches.mean(dim=1))
        grid = self.grid(image_size)
        featmap = patches.transpose(1, 2).unflatten(2, grid)  # [B, D, h * w] -> [B, D, h, w]
        if self.out_type == 'padded_featmap':
            return featmap
        # Heads stretch a feature map over the image. One that still covered the padding would land up to a patch too far
        # left and up, so rows and columns are interpolated to h x w cells that cover the image alone.
        for dim, (cells, size) in enumerate(zip(grid, image_size), start=2):
            covered = size / (cells * self.patch_size)
            if covered < 1:
                with torch.autocast(x.device.type, enabled=False):  # in bfloat16 the weights would not sum to 1
                    weights = shrinking_weights(cells, covered, x.device)
                    featmap = torch.einsum('oi,bdiw->bdow' if dim == 2 else 'oi,bdhi->bdho', weights, featmap.float())
        return featmap.to(x.dtype)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of depths, for layer-wise decay as mmpretrain computes it.

        mmpretrain's exponent ``num_depths - 1 - depth`` is then the release's: L for patch embedding, [CLS] and position
        embedding, L - 1 - i for block i, 0 for the final norm, ``fc_norm`` and everything outside the backbone.
        """
        depth = self.num_layers
        if param_name.startswith((f'{prefix}cls_token', f'{prefix}pos_embed', f'{prefix}patch_embed')):
            depth = 0
        elif param_name.startswith(f'{prefix}layers.'):
            depth = int(param_name.removeprefix(prefix).split('.')[1]) + 1
        return depth, self.num_layers + 1

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """What ``frozen_stages`` keeps from training."""
        if self.is_frozen:
            return [*self.children(), *self.parameters(recurse=False)]
        parts = [self.patch_embed] if self.frozen_stages >= 0 else []
        if self.frozen_stages > 0:
            parts += [*self.parameters(recurse=False), *self.layers[:self.frozen_stages]]
        return parts

    def train(self, mode: bool = True) -> 'NEPAViT':
        """Switch to training mode; frozen parts, or all of a frozen backbone, stay in evaluation mode."""
        super().train(mode and not self.is_frozen)
        for part in self.frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self


def shrinking_weights(cells: int, covered: float, device: torch.device) -> Tensor:
    """Linear interpolation [cells, cells] from cells over the padded side to as many over the covered part of it."""
    index = torch.arange(cells, device=device)
    position = ((index + 0.5) * covered - 0.5).clamp(min=0)  # of the new cell centres, counted in old cells
    return (1 - (position[:, None] - index).abs()).clamp(min=0)


def checked_index(index: int, num_layers: int) -> int:
    """An index of a block, counted from the start."""
    if not -num_layers <= index < num_layers:
        raise ConfigError(f'{index} is not in [{-num_layers}, {num_layers - 1}], the blocks of this arch', 'out_indices',
                          'choose from these')
    return index % num_layers
