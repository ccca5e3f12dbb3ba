import copy
import io
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseTTAModel
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import BaseLoop
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.models import EncoderDecoder, SegDataPreProcessor, SegTTAModel
from mmseg.models.decode_heads import DAHead, EncHead, FCNHead, IterativeDecodeHead, PSPHead, STDCHead
from mmseg.structures import SegDataSample
from torch import nn

from nepa_mm import NEPAViT
from nepa_mm.engine import CheckSegInputsHook
from nepa_mm.engine.checks.seg_model_checks import check_labelled
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.evaluation import ExactIoUMetric
from nepa_mm.models import SegTTAModel as OurTTAModel
from tiny import TINY


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


class Loop(BaseLoop):
    """What a loop of mmengine holds: a dataset with so many classes, and metrics."""

    def __init__(self, classes, *metrics):
        metainfo = {} if classes is None else dict(classes=list(range(classes)))
        self.dataloader = SimpleNamespace(
            dataset=SimpleNamespace(metainfo=metainfo), batch_size=2, sampler=range(4), drop_last=False)
        self.evaluator = SimpleNamespace(metrics=metrics)

    def run(self):
        pass


class Wrapped(BaseTTAModel):

    def merge_preds(self, data_samples_list):
        pass


def head(kind=FCNHead, **kwargs):
    return kind(channels=4, **{'in_channels': 16, 'num_classes': 3, **kwargs})


def knet(num_classes=3):
    settings = dict(num_classes=num_classes, in_channels=16, channels=4)
    return IterativeDecodeHead(0, dict(type='FCNHead', **settings), [])


class Segmentor(EncoderDecoder):

    def __init__(self, *auxiliary, preprocessor=None, **kwargs):
        nn.Module.__init__(self)
        self.backbone = NEPAViT(**TINY, out_type='featmap')
        self.decode_head = head(**kwargs)
        if auxiliary:
            self.auxiliary_head = nn.ModuleList(auxiliary)
        self.data_preprocessor = SegDataPreProcessor(**(preprocessor or dict(size=(14, 14))))


SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)
METRICS = SimpleNamespace(ignore_index=255), object()


def runner(model, train=3, val=3, metrics=METRICS):
    return SimpleNamespace(model=model, _train_loop=Loop(train), _val_loop=Loop(val, *metrics), _test_loop=dict(type='TestLoop'),
                           logger=logging.getLogger('checks'))


def batch(*labels, size=(14, 14), **meta):
    """Two images whose label maps hold these labels, and 0."""
    first, second = torch.zeros(2, 1, *size, dtype=torch.int64)
    first.view(-1)[:len(labels)] = torch.tensor(labels)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=data),
                             metainfo=dict(seg_map_path=f'{name}.png', img_path=f'{name}.jpg', **meta))
               for name, data in (('good', second), ('bad', first))]
    return dict(inputs=[torch.zeros(3, *size)] * 2, data_samples=samples)


def watched(model, **kwargs):
    CheckSegInputsHook().before_run(runner(model, **kwargs))
    return model.data_preprocessor


def test_good_labels_pass_in_training_and_tests():
    check = watched(Segmentor(head(ignore_index=255)))
    for training in (True, False):
        check(batch(1, 2, 255), training)
        check(batch(1, 2, 255), training=training)
    check(dict(inputs=[torch.zeros(3, 14, 14)], data_samples=[SegDataSample()]), False)  # a test without labels
    check(dict(inputs=[torch.zeros(3, 14, 14)]), False)


@pytest.mark.parametrize('labels, meta, message', [
    ((5, 4, 5), {}, r'^labels \[4, 5\] are neither below model.decode_head.num_classes=3 nor model.decode_head.ignore_index=255'
                    r" \| seg_map_path='bad.png' \| mend the label map, or set one of the two$"),
    ((4, ), dict(reduce_zero_label=True), r'labels \[4\] \(\[5\] in the file, before reduce_zero_label\) are'),
    ((3, ), {}, 'set one of the two, or reduce_zero_label=True of dataset and LoadSegAnnotations if 0 is no class$'),
    ((3, ), dict(reduce_zero_label=True), r'\[4\] in the file, before reduce_zero_label\).* set one of the two$'),
    ((255, ), dict(reduce_zero_label=True, ignore_index=9), r'labels \[255\] \(\[0\] in the file, before reduce_zero_label'),
])
def test_labels_of_no_class_are_named_with_their_file(labels, meta, message):
    ignored = meta.get('ignore_index', 255)
    with pytest.raises(DataError, match=message):
        watched(Segmentor(ignore_index=ignored))(batch(*labels, **meta), True)


@pytest.mark.parametrize('kind, key', [
    (lambda **kwargs: head(EncHead, in_channels=[16], in_index=[-1], **kwargs), 'decode_head'),
    (lambda **kwargs: head(DAHead, pam_channels=2, **kwargs), 'decode_head'),
    (knet, 'decode_head.kernel_generate_head'),
    (lambda **kwargs: nn.ModuleList([head(STDCHead), head(**kwargs)]), 'decode_head.1'),  # CascadeEncoderDecoder's
], ids=['EncHead', 'DAHead', 'IterativeDecodeHead', 'cascade'])
def test_heads_with_a_loss_of_their_own_take_labels_as_they_are(kind, key):
    model = Segmentor()
    model.decode_head = kind()
    with pytest.raises(DataError, match=rf'labels \[3\] are neither below model.{key}.num_classes=3 nor'):
        watched(model)(batch(3), True)
    model.decode_head = kind(num_classes=4)
    with pytest.raises(ConfigError, match=rf'^4 differs from the 3 classes.* \| model.{key}.num_classes'):
        watched(model)


def test_a_model_whose_heads_make_their_own_labels_says_so():
    model, said = Segmentor(), []
    model.decode_head = head(STDCHead, num_classes=2)
    run = runner(model)
    run.logger = SimpleNamespace(info=said.append)
    CheckSegInputsHook().before_run(run)
    assert said == ['labels are not checked: STDCHead makes its own of them']
    model.data_preprocessor(batch(3), True)
    with pytest.raises(DataError, match='less than one patch'):
        model.data_preprocessor(batch(size=(6, 14)), False)


def test_each_head_has_its_own_labels():
    check = watched(Segmentor(head(), head(ignore_index=7), ignore_index=7), metrics=[])
    with pytest.raises(DataError, match=r'labels \[7\].* model.auxiliary_head.0.num_classes=3 nor model.auxiliary_head.0.ig'):
        check(batch(7), True)
    check(batch(7), False)  # a test is the decode head's
    check = watched(Segmentor(head(STDCHead, num_classes=2), ignore_index=None))  # STDC's labels are edges
    check(batch(2), True)
    with pytest.raises(DataError, match='labels .255.*model.decode_head.ignore_index=None'):
        check(batch(255), True)


@pytest.mark.parametrize('wrap', [lambda sample: sample, lambda sample: [sample, sample]], ids=['one', 'TestTimeAug'])
def test_a_metric_of_labels_needs_some(wrap):
    for metric, fields, is_good in ((IoUMetric(), {}, False), (ExactIoUMetric(), {}, False),
                                    (ExactIoUMetric(), dict(gt_sem_seg=PixelData()), True),
                                    (IoUMetric(format_only=True, output_dir='maps'), {}, True)):
        sample = SegDataSample()
        sample.set_data(fields)
        dataset = [dict(data_samples=wrap(sample))]
        if is_good:
            check_labelled(dataset, [metric], 'test')
        else:
            with pytest.raises(ConfigError, match=r'IoUMetric needs label maps.* \| test_dataloader.* \| .*format_only=True'):
                check_labelled(dataset, [object(), metric], 'test')


def test_a_test_ignores_what_the_metric_ignores():
    model = Segmentor(ignore_index=9)
    watched(model, metrics=[SimpleNamespace(ignore_index=8)])(batch(8), False)
    with pytest.raises(DataError, match=r'labels \[9\].* nor val_evaluator.ignore_index=8 \| .* \| mend'):
        watched(model, metrics=[SimpleNamespace(ignore_index=8)])(batch(9), False)


def test_one_output_tells_two_classes():
    for classes in (1, 2):
        watched(Segmentor(num_classes=classes, out_channels=1, loss_decode=SIGMOID), train=2, val=2)(batch(1, 255), True)
    with pytest.raises(DataError, match=r'labels \[2\]'):
        watched(Segmentor(num_classes=1, out_channels=1, loss_decode=SIGMOID), train=2, val=2)(batch(2), True)


@pytest.mark.parametrize('classes', [1, 2])
def test_one_class_is_none(classes):
    with pytest.raises(ConfigError, match=r"^\[0\] is one class.* two \| val_dataloader.dataset.metainfo.classes \|"
                                          r" name both, such as \['background', 0\], and set num_classes=2 of"):
        watched(Segmentor(num_classes=classes, out_channels=1, loss_decode=SIGMOID), train=2, val=1)


@pytest.mark.parametrize('settings, message', [
    (dict(out_channels=1, loss_decode=dict(type='CrossEntropyLoss')),
     r'^False, and a softmax of the one output of model.decode_head is always 1: nothing is learnt \| '
     r'model.decode_head.loss_decode.use_sigmoid \| set it to True, or model.decode_head.out_channels to 2'),
    (dict(out_channels=1, loss_decode=[SIGMOID, dict(type='DiceLoss', use_sigmoid=False)]),
     r'one output .*\| model.decode_head.loss_decode.1.use_sigmoid'),
    (dict(loss_decode=dict(type='CrossEntropyLoss', class_weight=[1., 2., 3.])),
     r'^3 weights, and model.decode_head has 2 outputs \| model.decode_head.loss_decode.class_weight \| give one for each'),
    (dict(loss_decode=dict(SIGMOID, class_weight=[1., 2.])),
     r'^\[1.0, 2.0\]: the sigmoid cross entropy of mmseg takes it for weights of columns \| '),
])
def test_losses_fit_the_outputs_of_their_heads(settings, message):
    with pytest.raises(ConfigError, match=message):
        watched(Segmentor(num_classes=2, **settings), train=2, val=2)


def test_losses_that_fit_pass():
    for settings in (dict(loss_decode=dict(type='CrossEntropyLoss', class_weight=[1., 2.])), dict(loss_decode=SIGMOID),
                     dict(out_channels=1, loss_decode=dict(SIGMOID, class_weight=[2.]))):
        watched(Segmentor(num_classes=2, **settings), train=2, val=2)


def test_mmsegs_tta_model_is_for_several_outputs():
    model = Segmentor(num_classes=2, out_channels=1, loss_decode=SIGMOID)
    model.out_channels = 1
    CheckSegInputsHook().before_run(runner(OurTTAModel(model), train=2, val=2))
    with pytest.raises(ConfigError, match=r"takes the sigmoid .* twice \| tta_model.type \| set 'nepa_mm.SegTTAModel'"):
        CheckSegInputsHook().before_run(runner(SegTTAModel(model), train=2, val=2))


@pytest.mark.parametrize('batch_size, images, drop_last, norm, message', [
    (1, 4, False, 'BN', r'^1 image: the batch normalisation in model.decode_head.psp_modules.0, behind a pooling to 1 x 1, needs '
                        r'two values \| train_dataloader.batch_size \| set 2 or more, or norm_cfg='),
    (4, 9, False, 'BN', r'^False leaves 1 image to the last batch of an epoch: .* \| train_dataloader.drop_last \| set True, or'),
    (4, 9, True, 'BN', None), (4, 8, False, 'BN', None), (1, 4, False, 'GN', None), (None, 9, False, 'BN', None)])
def test_a_batch_normalisation_needs_two_values(batch_size, images, drop_last, norm, message):
    model = Segmentor()
    model.decode_head = head(PSPHead, norm_cfg=dict(type=norm, **(dict(num_groups=2) if norm == 'GN' else {})))
    run = runner(model)
    loader = SimpleNamespace(batch_size=batch_size, sampler=range(images), drop_last=drop_last)
    run._train_loop.dataloader = SimpleNamespace(**{**vars(run._train_loop.dataloader), **vars(loader)})
    if message is None:
        CheckSegInputsHook().before_run(run)
    else:
        with pytest.raises(ConfigError, match=message):
            CheckSegInputsHook().before_run(run)


def test_classes_of_data_and_heads_are_the_same():
    model = Segmentor(head(), head(STDCHead, num_classes=2), head(num_classes=5), num_classes=4)
    with pytest.raises(ConfigError, match=r'^4 differs from the 3 classes of train_dataloader.dataset .* \| '
                                          r'model.decode_head.num_classes'
                                          r' \| --cfg-options model.decode_head.num_classes=3 '
                                          'model.auxiliary_head.2.num_classes=3$'):
        watched(model)
    with pytest.raises(ConfigError, match='the 2 classes of val_dataloader.dataset'):
        watched(Segmentor(), val=2)
    watched(model, train=None, val=None)  # the dataset does not say


@pytest.mark.parametrize('preprocessor, size, is_padded', [
    (dict(size=(14, 14)), (14, 14), False), (dict(size=(14, 14)), (14, 13), True), (dict(size_divisor=7), (14, 21), False),
    (dict(size_divisor=8), (14, 14), True)])
def test_labels_are_padded_with_what_is_ignored(preprocessor, size, is_padded):
    good = watched(Segmentor(preprocessor=dict(preprocessor, seg_pad_val=9), ignore_index=9))
    bad = watched(Segmentor(preprocessor=dict(preprocessor, seg_pad_val=255), ignore_index=9))
    background = watched(Segmentor(preprocessor=dict(preprocessor, seg_pad_val=0), ignore_index=9))
    for check in (good, background) if is_padded else (good, background, bad):
        check(batch(size=size), True)
    if is_padded:
        with pytest.raises(ConfigError, match=r'^255 pads labels .* neither one of model.decode_head.num_classes=3 nor '
                                              r'model.decode_head.ignore_index=9 \| model.data_preprocessor.seg_pad_val \| set'):
            bad(batch(size=size), True)


def test_an_image_smaller_than_a_patch_is_named():
    with pytest.raises(DataError, match='^14x6 pixels as the model gets it are less than one patch, '
                                        r"model.backbone.patch_size=7 \| img_path='good.jpg' \| enlarge it"):
        watched(Segmentor())(batch(size=(6, 14)), False)
    watched(Segmentor(preprocessor=dict(size=(14, 14), test_cfg=dict(size=(14, 14)))))(batch(size=(6, 14)), False)


@pytest.mark.parametrize('preprocessor, size, seen', [
    (dict(size_divisor=1), (14, 6), '6x14'), (dict(size_divisor=4), (3, 14), '16x4'), (dict(size_divisor=7), (6, 6), None),
    (dict(size=(14, 14)), (6, 6), None)])
def test_a_training_image_smaller_than_a_patch_is_named_unless_it_is_padded(preprocessor, size, seen):
    check = watched(Segmentor(preprocessor=preprocessor))
    if seen is None:
        check(batch(size=size), True)
    else:
        with pytest.raises(DataError, match=rf"^{seen} pixels as the model gets it are less than one patch.* \| "
                                            rf"img_path='good.jpg'"):
            check(batch(size=size), True)


def test_a_small_image_is_padded_to_the_larger_one_of_its_batch():
    data = batch(size=(14, 14))
    data['inputs'][0] = torch.zeros(3, 6, 14)
    data['data_samples'][0].gt_sem_seg = PixelData(data=torch.zeros(1, 6, 14, dtype=torch.int64))
    watched(Segmentor(preprocessor=dict(size_divisor=1, seg_pad_val=255)))(data, True)


def test_images_of_a_test_have_one_size():
    data = batch()
    data['inputs'][1] = torch.zeros(3, 14, 21)
    watched(Segmentor())(dict(data, inputs=data['inputs'][:1]), False)
    with pytest.raises(ConfigError, match=r'^2 images are stacked, .* 14x14 and 21x14 behind .* \| val_dataloader.batch_size'):
        watched(Segmentor())(data, False)


def test_several_versions_of_an_image_are_for_a_tta_model():
    data = {key: [tuple(values)] * 2 for key, values in batch().items()}  # as TestTimeAug gives them
    with pytest.raises(ConfigError, match=r'^several versions of an image, as TestTimeAug gives.* \| '
                                          r'val_dataloader.dataset.pipeline'):
        watched(Segmentor())(data, False)


def test_a_preprocessor_may_be_called_by_names_and_tests_unless_told():
    check = watched(Segmentor())
    for args, kwargs in (((), dict(data=batch(3), training=True)), ((batch(3), ), {}), ((), dict(data=batch(3)))):
        with pytest.raises(DataError, match=r'labels \[3\]'):
            check(*args, **kwargs)


def test_a_copy_of_the_model_or_one_saved_whole_is_not_watched():
    model, stored = Segmentor(), io.BytesIO()
    watched(model)
    torch.save(model, stored)
    stored.seek(0)
    for other in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
        other.data_preprocessor(batch(3), True)
        check, = other.data_preprocessor._forward_pre_hooks.values()
        assert check.heads is None
    with pytest.raises(DataError):
        model.data_preprocessor(batch(3), True)


def test_the_model_inside_others_is_watched_until_the_run_ends():
    model, hook = Segmentor(), CheckSegInputsHook()
    run = runner(Wrapped(model))
    hook.before_run(run)
    hook.before_run(run)
    assert len(model.data_preprocessor._forward_pre_hooks) == 1
    with pytest.raises(DataError):
        model.data_preprocessor(batch(3), False)
    hook.after_run(run)
    model.data_preprocessor(batch(3), False)
    hook.before_run(runner(nn.Linear(1, 1)))  # no segmentor
