"""EoMT: a plain ViT that segments by queries inside its last blocks, without pixel decoder (arXiv 2503.19108).

Shapes: B batch, Q queries, L tokens of the backbone ([CLS], if any, then patches), D width, h x w grid of patches, C classes.
"""
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmengine.registry import TASK_UTILS
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.structures import SegDataSample
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS

from .segmentors import PaddedEncoderDecoder


@MODELS.register_module()
class EoMTHead(Mask2FormerHead):
    """Queries, and what makes of them and of the patches a class and a mask each; the losses are Mask2Former's.

    A mask is the dot product of a query's embedding, by three linear maps, with each cell of the patches' map, enlarged by
    transposed convolutions. :class:`EoMT` runs the queries through the backbone.

    Args:
        embed_dims: Width D of the backbone.
        num_classes: Classes C, without 'none of them', which is added.
        num_queries: Queries Q.
        num_blocks: Last blocks of the backbone that the queries pass: 3 of S and B, 4 of L in the paper.
        num_upscales: How often the patches' map is doubled before masks are made: 2 leave about 4 pixels of 14 or 16 to a cell.
        loss_cls: Config of the loss of classes; mmdet's, whose ``class_weight`` has C + 1 numbers.
        loss_mask: Of the masks' points.
        loss_dice: Likewise.
        train_cfg: ``assigner``, ``sampler``, ``num_points``, ``oversample_ratio`` and ``importance_sample_ratio`` as of
            Mask2FormerHead.
        align_corners: Of mmseg's heads; False.
        ignore_index: Label that counts for no class.

    Raises:
        ConfigError: Where mmdet, whose losses these are, cannot be imported.
    """

    def __init__(self, embed_dims: int, num_classes: int, loss_cls: dict, loss_mask: dict, loss_dice: dict,
                 train_cfg: dict | None = None, num_queries: int = 100, num_blocks: int = 3, num_upscales: int = 2,
                 align_corners: bool = False, ignore_index: int = 255, init_cfg: dict | None = None) -> None:
        BaseModule.__init__(self, init_cfg)  # Mask2FormerHead's own would build its two decoders
        if not hasattr(Mask2FormerHead, 'loss_by_feat'):
            raise ConfigError('EoMTHead has the losses of mmdet, which cannot be imported', 'decode_head.type',
                              "pip install 'nepa_mm[detection]', and custom_imports of nepa_mm.ops first")
        self.embed_dims, self.num_classes, self.out_channels = embed_dims, num_classes, num_classes
        self.num_queries, self.num_blocks = num_queries, num_blocks
        self.align_corners, self.ignore_index = align_corners, ignore_index

        self.queries = nn.Embedding(num_queries, embed_dims)
        self.cls_embed = nn.Linear(embed_dims, num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(embed_dims, embed_dims), nn.GELU(), nn.Linear(embed_dims, embed_dims), nn.GELU(),
            nn.Linear(embed_dims, embed_dims))
        self.upscale = nn.Sequential(*(layer for _ in range(num_upscales) for layer in (
            nn.ConvTranspose2d(embed_dims, embed_dims, 2, stride=2), nn.GELU(),
            nn.Conv2d(embed_dims, embed_dims, 3, padding=1, groups=embed_dims, bias=False), LayerNorm2d(embed_dims))))

        self.class_weight = loss_cls['class_weight']
        self.loss_cls, self.loss_mask, self.loss_dice = (MODELS.build(loss) for loss in (loss_cls, loss_mask, loss_dice))
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(train_cfg['sampler'], default_args=dict(context=self))
            self.num_points, self.oversample_ratio, self.importance_sample_ratio = (
                train_cfg[name] for name in ('num_points', 'oversample_ratio', 'importance_sample_ratio'))

    def init_weights(self) -> None:
        """As ``init_cfg`` says; Mask2FormerHead's would be for its decoders."""
        BaseModule.init_weights(self)

    def classes_and_masks(self, queries: Tensor, featmap: Tensor) -> tuple[Tensor, Tensor]:
        """Of queries [B, Q, D] over patches [B, D, h, w]: logits [B, Q, C + 1] of classes and [B, Q, H, W] of masks.

        H and W are h and w, doubled ``num_upscales`` times.
        """
        masks = torch.einsum('bqd,bdhw->bqhw', self.mask_embed(queries), self.upscale(featmap))
        return self.cls_embed(queries).float(), masks.float()

    def forward(self, x: list[tuple[Tensor, Tensor]],
                batch_data_samples: list[SegDataSample] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Classes and masks in pairs, one for each prediction, as :class:`EoMT` makes them -> those lists that losses take."""
        classes, masks = zip(*x)
        return list(classes), list(masks)

    def seen(self, masks: Tensor, grid: tuple[int, int], probability: float) -> Tensor:
        """Patches [B, Q, h * w] that each query is to see: those in its mask, or, but for a ``probability``, all."""
        masks = F.interpolate(masks.detach(), grid, mode='bilinear', align_corners=False)  # [B, Q, h, w]
        is_free = torch.rand(masks.shape[:2], device=masks.device) >= probability  # [B, Q]
        return (masks.flatten(2) > 0) | is_free[..., None]

    def mask_probability(self, block: int) -> float:
        """How often a query is masked in the n-th of its blocks at this iteration of a training, 1 outside of one.

        The training has ``num_blocks + 2`` phases of one length. All masks are there in the first; in each of the next the
        probability of one block, the first one first, falls to 0 by a polynomial of power 0.9; in the last no masks are left,
        as in tests, which so are those of a plain ViT.
        """
        hub = MessageHub.get_current_instance()
        iteration, length = hub.get_info('iter', 0), hub.get_info('max_iters', None)
        phase = iteration / length * (self.num_blocks + 2) if length else 0.
        return (1 - min(max(phase - 1 - block, 0.), 1.))**0.9


@MODELS.register_module()
class EoMT(PaddedEncoderDecoder):
    """A NEPAViT whose last blocks take the queries of an :class:`EoMTHead` beside its own tokens.

    Queries and tokens see each other. While training, classes and masks are predicted before each of these blocks and after the
    last one, and a query sees the patches of its mask alone, with a probability that falls to 0 in the course of the training.

    Args:
        backbone: As of :class:`PaddedEncoderDecoder`, bidirectional.
        decode_head: Config of an :class:`EoMTHead`.
        **kwargs: Those of ``EncoderDecoder``, without neck and auxiliary heads, for which there are no maps.

    Raises:
        ConfigError: For a causal backbone, one of another width or with too few blocks, and for neck or auxiliary heads.
    """

    def __init__(self, backbone: dict, decode_head: dict, **kwargs) -> None:
        super().__init__(backbone, decode_head=decode_head, **kwargs)
        vit, head = self.backbone, self.decode_head
        if not isinstance(head, EoMTHead):
            raise ConfigError(f'{decode_head.get("type")!r} has no queries', 'decode_head.type', "set 'nepa_mm.EoMTHead'")
        if vit.causal:
            raise ConfigError('True, and patches are to see the queries', 'backbone.causal', 'set it to False')
        if head.embed_dims != vit.embed_dims:
            raise ConfigError(f'{head.embed_dims} differs from the width of the backbone, {vit.embed_dims}',
                              'decode_head.embed_dims', f'set it to {vit.embed_dims}')
        if not 0 < head.num_blocks < vit.num_layers:
            raise ConfigError(f'{head.num_blocks} is not in [1, {vit.num_layers - 1}], the backbone has {vit.num_layers} blocks',
                              'decode_head.num_blocks', 'choose from these')
        if self.with_neck or self.with_auxiliary_head:
            raise ConfigError('EoMT has no feature maps for it', 'neck' if self.with_neck else 'auxiliary_head', 'leave it out')

    def extract_feat(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Images [B, 3, H, W] -> classes [B, Q, C + 1] and masks [B, Q, H', W'] of each prediction, in tests the last."""
        vit, head, image_size = self.backbone, self.decode_head, tuple(inputs.shape[-2:])
        first = vit.num_layers - head.num_blocks
        tables = vit.rope_tables(image_size, inputs.device)  # drawn once for all blocks
        rope, frozen_rope = (None if table is None else vit.rotations(table) for table in tables)
        x = vit.add_position(vit.embed(inputs), vit.grid(image_size))
        x = next(islice(vit.run_without_norm(x, rope, frozen_rope, causal=False), first - 1, None))  # [B, L, D]
        x = torch.cat([head.queries.weight.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)  # [B, Q + L, D]
        extra = head.num_queries + vit.num_extra_tokens
        rope, frozen_rope = (None if table is None else vit.rotations(table, ahead=head.num_queries) for table in tables)
        predictions = []
        for i in range(first, vit.num_layers):
            mask = False  # all see all
            if self.training:
                predictions.append(self.predicted(x, image_size))
                probability = head.mask_probability(i - first)
                if probability > 0:
                    mask = x.new_ones(len(x), 1, x.shape[1], x.shape[1], dtype=torch.bool)
                    mask[:, 0, :head.num_queries, extra:] = head.seen(predictions[-1][1], vit.grid(image_size), probability)
            x = vit.run_block(i, x, frozen_rope if i < vit.frozen_stages else rope, mask)
        return [*predictions, self.predicted(x, image_size)]

    def predicted(self, x: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens [B, Q + L, D] -> classes and masks, after the final norm."""
        queries, tokens = self.backbone.norm(x).tensor_split([self.decode_head.num_queries], dim=1)
        return self.decode_head.classes_and_masks(queries, self.backbone.format_output(tokens, image_size))

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Images [B, 3, H, W] -> logits [B, C, H, W], the one tensor that an export has."""
        return self.encode_decode(inputs, [{}])  # mmseg reads the first alone
