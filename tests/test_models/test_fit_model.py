import pytest
import torch
from mmengine.model import BaseTTAModel, MMDistributedDataParallel
from mmengine.registry import DefaultScope
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead, VisionTransformer
from mmseg.models import EncoderDecoder

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import CheckpointError
from nepa_mm.models.fit_model import fit_model, require_all, unwrapped
from tiny import TINY, randomize

HEAD = dict(type='FCNHead', in_channels=16, channels=8, num_convs=1, concat_input=False, norm_cfg=dict(type='BN'))


def classifier(num_classes=5, **kwargs):
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap', **kwargs)
    head = LinearClsHead(num_classes, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    return ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())


def foreign():
    vit = VisionTransformer(arch=dict(TINY['arch']), img_size=28, patch_size=7)
    return ImageClassifier(vit, data_preprocessor=ClsDataPreprocessor())


def segmentor(num_classes=4):
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, qk_norm='affine', out_type='featmap')
    with DefaultScope.overwrite_default_scope('mmseg'):
        return EncoderDecoder(backbone, decode_head=dict(HEAD, num_classes=num_classes))


def test_pretraining_to_classification_and_segmentation():
    state = NEPA(NEPAViT(**TINY), mask_ratio=0.5).state_dict()
    assert str(fit_model(classifier(), dict(state))) == (
        'the state dict: 47 of 47 backbone tensors loaded; created: 6 affine QK-norm weights as ones, 2 of fc_norm as the '
        'identity, head (2) at random; ignored: mask_token (1)')
    assert str(fit_model(segmentor(), dict(state))) == (
        'the state dict: 47 of 47 backbone tensors loaded; created: 6 affine QK-norm weights as ones, decode_head (8) at random; '
        'ignored: mask_token (1)')


def test_a_head_that_begins_at_zero_is_said_to():
    model = classifier()
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert fit_model(model, NEPA(NEPAViT(**TINY)).state_dict()).new_parts == ['head (2) as zeros']
    fit = fit_model(model, classifier(7).state_dict())
    assert fit.new_parts == [f'head.fc.{kind} as zeros for 5 classes (7 there)' for kind in ('weight', 'bias')]


def test_what_is_fitted_loads_strictly():
    tuned = randomize(classifier())
    for model, source in ((classifier(), NEPA(NEPAViT(**TINY))), (segmentor(), tuned), (classifier(7), tuned)):
        state = source.state_dict()
        fit_model(model, state)
        new = [name for name in model.state_dict() if name not in state]
        assert all(name.startswith(('head.fc', 'decode_head')) for name in new)
        model.load_state_dict(state | {name: model.state_dict()[name] for name in new}, strict=True)


def test_a_head_of_another_number_of_classes_starts_at_random():
    state = classifier(1000).state_dict()
    fit = fit_model(classifier(10), state)
    assert fit.new_parts == [f'head.fc.{kind} at random for 10 classes (1000 there)' for kind in ('weight', 'bias')]
    assert not any(name.startswith('head') for name in state)
    fit = fit_model(segmentor(), segmentor(150).state_dict())
    assert fit.new_parts == [f'decode_head.conv_seg.{kind} at random for 4 classes (150 there)' for kind in ('weight', 'bias')]


def test_parts_in_pieces_or_of_another_width_are_refused():
    state = segmentor().state_dict()
    del state['decode_head.convs.0.bn.weight'], state['decode_head.convs.0.bn.num_batches_tracked']
    with pytest.raises(CheckpointError, match='lacks 1 of the 8 tensors of decode_head, such as decode_head.convs.0.bn.weight'):
        fit_model(segmentor(), state)
    state = classifier().state_dict()
    state['head.fc.weight'] = torch.zeros(5, 32)
    with pytest.raises(CheckpointError, match=r'head.fc.weight is \[5, 32\] there and \[5, 16\] here'):
        fit_model(classifier(), state)


def test_a_head_of_another_kind_is_new_and_theirs_unused():
    state = classifier().state_dict()
    state['head.layers.head.weight'] = state.pop('head.fc.weight')
    state['head.layers.head.bias'] = state.pop('head.fc.bias')
    fit = fit_model(classifier(), state)
    assert fit.new_parts == ['head (2) at random'] and fit.unused_parts == ['head (2)']


def test_parts_of_a_head_may_be_listed():
    model, state = classifier(allow_unmatched=['head.*']), classifier().state_dict()
    del state['head.fc.bias']
    assert fit_model(model, state).new_parts == ['head.fc.bias at random']
    state = classifier().state_dict() | {'head.fc.weight': torch.zeros(5, 32)}
    assert fit_model(model, state).new_parts == ['head.fc.weight at random']


def test_nothing_in_common():
    for model in (classifier(), foreign()):
        with pytest.raises(CheckpointError, match=r"none of its 1 tensors belongs to ImageClassifier; first keys: \['a.b'\]"):
            fit_model(model, {'a.b': torch.ones(1)})


def test_a_model_without_our_backbone_is_left_alone():
    model = foreign()
    state = {**model.state_dict(), 'other': torch.ones(1)}
    assert fit_model(model, state).available == 0 and 'other' in state


def test_every_backbone_counts():

    class Two(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.backbone, self.teacher = NEPAViT(**TINY), NEPAViT(**TINY)

    assert fit_model(Two(), Two().state_dict()).loaded == 94
    with pytest.raises(CheckpointError, match='no weights of a NEPA ViT here'):
        fit_model(Two(), NEPA(NEPAViT(**TINY)).state_dict())


def test_require_all():
    require_all(fit_model(classifier(), classifier().state_dict()), 'a test')
    with pytest.raises(CheckpointError, match=r'a test needs every weight, and these would be created: head.fc.weight at random'):
        require_all(fit_model(classifier(), classifier(7).state_dict()), 'a test')


def test_unwrapped(monkeypatch):

    class TTA(BaseTTAModel):

        def merge_preds(self, data_samples_list):
            return data_samples_list

    model = classifier()
    assert unwrapped(TTA(module=model)) is unwrapped(model) is model
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)  # without the process group that it asks for
    torch.nn.Module.__init__(wrapper)
    wrapper.module = model
    assert unwrapped(wrapper) is model
