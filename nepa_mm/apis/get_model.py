"""A built and loaded model in one call."""
from mmengine.model import BaseModel
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead, SelfSupDataPreprocessor

from ..checkpoints import backbone_kwargs, mm_state_dict, read_released
from ..errors import CheckpointError
from ..models import NEPA, NEPAViT

# The release scales pixels from [0, 255] to [-1, 1].
PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3)


def get_model(address: str, **overrides) -> BaseModel:
    """Build the model that a checkpoint holds, load it strictly and put it in evaluation mode.

    Args:
        address: ``hf:FOLDER`` or ``hf:ORG/NAME`` of a checkpoint in the released format.
        **overrides: Arguments of :class:`NEPAViT` instead of the checkpoint's, e.g. ``causal=False``.

    Returns:
        An ``NEPA`` for a pretraining checkpoint (``model(x, mode='loss')`` with normalised x [B, 3, H, W] gives a dict with
        ``loss``), an mmpretrain ``ImageClassifier`` for a classification one (``model(x)`` gives logits [B, num_classes]).

    Raises:
        CheckpointError: If there is no such checkpoint, or it is of another kind.
        RuntimeError: If a weight is missing, left over or of another shape.
    """
    if not address.startswith('hf:'):
        raise CheckpointError(f"checkpoint address {address!r} is not supported; choose 'hf:FOLDER' or 'hf:ORG/NAME'")
    config, released = read_released(address.removeprefix('hf:'))
    state_dict = mm_state_dict(released)
    kwargs = backbone_kwargs(config)
    if 'head.fc.weight' in state_dict:
        num_classes, in_channels = state_dict['head.fc.weight'].shape
        # Released classifiers pool patch tokens, or else take the last one.
        kwargs['out_type'] = 'avg_featmap' if config.get('add_pooling_layer') else 'last_token'
        model = ImageClassifier(
            NEPAViT(**{**kwargs, **overrides}),
            head=LinearClsHead(num_classes, in_channels, loss=dict(type='mmpretrain.CrossEntropyLoss')),
            data_preprocessor=ClsDataPreprocessor(**PIXELS, to_rgb=True))
    else:
        model = NEPA(NEPAViT(**{**kwargs, **overrides}), data_preprocessor=SelfSupDataPreprocessor(**PIXELS, to_rgb=True))
    model.load_state_dict(state_dict, strict=True)
    return model.eval()
