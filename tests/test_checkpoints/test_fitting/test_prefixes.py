import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpretrain.models import ImageClassifier, LinearClsHead, VisionTransformer

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.fitting.prefixes import our_parts, state_dict_of, with_our_names
from nepa_mm.errors import CheckpointError
from nepa_mm.models.fit_model import fit_model
from tiny import TINY, randomize

PREFIXES = ['', 'backbone.', 'module.', 'model.', 'vit_nepa.', 'module.backbone.', 'model.backbone.', 'module.model.backbone.',
            'module.vit_nepa.', 'model.vit_nepa.', '_orig_mod.backbone.', 'module._orig_mod.']


def with_prefix(state_dict, prefix):
    return {prefix + name: value for name, value in state_dict.items()}


@pytest.mark.parametrize('prefix', PREFIXES)
@pytest.mark.parametrize('form', ['ours', 'released'])
def test_a_backbone_loads_under_any_prefix(prefix, form, tmp_path):
    backbone = randomize(NEPAViT(**TINY))
    names = {name.removeprefix('backbone.'): value for name, value in NEPA(backbone).state_dict().items()}
    if form == 'released':
        names = {name.removeprefix('vit_nepa.'): value
                 for name, value in released_state_dict(with_prefix(names, 'backbone.')).items()}
    torch.save(dict(state_dict=with_prefix(names, prefix)), tmp_path / 'a.pth')
    torch.save(with_prefix(names, prefix), tmp_path / 'b.pth')

    def check(loaded):
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, backbone.state_dict()[name]), name

    for file in ('a.pth', 'b.pth'):
        whole = NEPA(NEPAViT(**TINY))
        load_checkpoint(whole, str(tmp_path / file))  # what load_from does
        check(whole.backbone)
        alone = NEPAViT(**TINY)
        load_checkpoint(alone, str(tmp_path / file))
        check(alone)
        for given in (None, 'backbone.', prefix or None):
            init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / file), **(dict(prefix=given) if given else {}))
            started = NEPAViT(**TINY, init_cfg=init_cfg)
            started.init_weights()
            check(started)


@pytest.mark.parametrize('wrapper', ['', 'module.', 'model.', 'module.model.'])
def test_a_classifier_keeps_its_head(wrapper):
    model = ImageClassifier(NEPAViT(**TINY), head=LinearClsHead(5, 16))
    assert with_our_names(with_prefix(model.state_dict(), wrapper)).keys() == model.state_dict().keys()


def test_the_prefix_chooses_among_several(tmp_path):
    teacher, student = randomize(NEPAViT(**TINY)), randomize(NEPAViT(**TINY))
    both = with_prefix(teacher.state_dict(), 'teacher.backbone.') | with_prefix(student.state_dict(), 'student.backbone.')
    torch.save(dict(state_dict=both), tmp_path / 'a.pth')
    for prefix, expected in (('teacher.backbone.', teacher), ('student.', student)):
        backbone = NEPAViT(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix=prefix))
        backbone.init_weights()
        assert torch.equal(backbone.norm.weight, expected.norm.weight)
    backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    with pytest.raises(CheckpointError, match=r"no weights of a NEPA ViT here .*first keys: \['teacher.backbone.cls_token'"):
        backbone.init_weights()
    backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='studnt.')
    with pytest.raises(CheckpointError, match=r"^no key starts with prefix='studnt.'; first keys: \['te.* \| .*a.pth"):
        backbone.init_weights()


class Wrapper(torch.nn.Module):

    def __init__(self, attribute, inner):
        super().__init__()
        self.attribute = attribute
        self.add_module(attribute, inner)

    @property
    def inner(self):
        return getattr(self, self.attribute)


@pytest.mark.parametrize('attribute', ['vit', 'model', 'module', 'backbone', 'encoder'])
@pytest.mark.parametrize('fitted', [False, True])
def test_models_of_one_s_own_find_the_backbone(attribute, fitted, tmp_path):
    backbone = randomize(NEPAViT(**TINY))
    torch.save(Wrapper(attribute, backbone).state_dict(), tmp_path / 'own.pth')
    torch.save(dict(state_dict=NEPA(backbone).state_dict(), message_hub={}), tmp_path / 'run.pth')
    torch.save(dict(state_dict=with_prefix(NEPA(backbone).state_dict(), 'model.'), message_hub={}), tmp_path / 'wrapped_run.pth')
    for file in ('own.pth', 'run.pth', 'wrapped_run.pth'):
        model = Wrapper(attribute, NEPAViT(**TINY))
        if fitted:  # as the hook of a runner does
            state_dict = CheckpointLoader.load_checkpoint(str(tmp_path / file))['state_dict']
            assert fit_model(model, state_dict).loaded == 47
            model.load_state_dict(state_dict, strict=True)
        else:
            load_checkpoint(model, str(tmp_path / file))
        for name, value in model.inner.state_dict().items():
            assert torch.equal(value, backbone.state_dict()[name]), (file, name)


def test_a_checkpoint_that_was_loaded_can_be_saved_and_loaded_again(tmp_path):
    backbone = randomize(NEPAViT(**TINY))
    torch.save(dict(state_dict=NEPA(backbone).state_dict()), tmp_path / 'a.pth')
    torch.save(CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth')), tmp_path / 'b.pth')
    again = NEPA(NEPAViT(**TINY))
    load_checkpoint(again, str(tmp_path / 'b.pth'))
    assert torch.equal(again.backbone.norm.weight, backbone.norm.weight)


def test_a_head_that_is_loaded_alone_is_no_business_of_the_backbone():
    model = ImageClassifier(NEPAViT(**TINY), head=LinearClsHead(5, 16))
    result = model.load_state_dict({'head.fc.bias': torch.ones(5)}, strict=False)
    assert model.head.fc.bias.eq(1).all() and len(result.missing_keys) == 47 + 1


def test_other_models_and_a_runner_s_own_names_stay(tmp_path):
    vit = VisionTransformer(arch=dict(TINY['arch']), img_size=28, patch_size=7)
    assert list(with_our_names(with_prefix(vit.state_dict(), 'model.'))) == list(with_prefix(vit.state_dict(), 'model.'))
    wrapped = with_prefix(NEPAViT(**TINY).state_dict(), 'model.backbone.')
    assert list(our_parts(wrapped))[0] == 'backbone.cls_token'
    torch.save(dict(state_dict=wrapped, message_hub={}), tmp_path / 'a.pth')
    loaded = load_checkpoint(Wrapper('model', NEPA(NEPAViT(**TINY))), str(tmp_path / 'a.pth'))
    assert list(loaded['state_dict']) == list(wrapped)


def test_state_dict_of():
    weights = dict(a=torch.ones(1))
    for checkpoint in (weights, dict(state_dict=weights), dict(model=weights, epoch=3)):
        assert state_dict_of(checkpoint) is weights
    assert state_dict_of(dict(epoch=3)) is None and state_dict_of({}) is None
