"""Logits of slide mode beside those of mmseg's own loop."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder

from nepa_mm.models.dense.windows import EncoderDecoder, window_places
from slide import metas, segmentor
from tiny import ROOT

SIZES = [(28, 28), (20, 17), (45, 61), (28, 90), (75, 33), (28 + 20, 28 + 18)]  # H, W; the second is smaller than a window


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


@torch.no_grad()
@pytest.mark.parametrize('kind', ['nepa_mm.PaddedEncoderDecoder', 'nepa_mm.EncoderDecoder'])
@pytest.mark.parametrize('images', [1, 3])
@pytest.mark.parametrize('size', SIZES)
def test_logits_are_those_of_one_window_after_the_other(size, images, kind):
    model, inputs = segmentor(kind), torch.randn(images, 3, *size)
    exact = MMSegEncoderDecoder.slide_inference(model, inputs, metas(size, images))
    for at_once in (None, 1, 2, 5, 100):
        if at_once is not None:
            model.test_cfg.windows_at_once = at_once
        given = metas(size, images)
        found = model.inference(inputs, given)
        assert found.shape == (images, 3, *size) and given == metas(size, images)
        if at_once == 1:  # the same numbers in the same order
            assert torch.equal(found, exact)
        assert (found - exact).abs().max() <= 1e-6 * exact.abs().max()
        assert torch.equal(found.argmax(1), exact.argmax(1))


@torch.no_grad()
@pytest.mark.parametrize('images, at_once, expected', [
    (1, 4, [4, 4, 4]), (1, 5, [5, 5, 2]), (1, 1, [1] * 12), (1, 99, [12]), (2, 4, [4] * 6), (2, 5, [4] * 6), (3, 2, [3] * 12),
])
def test_the_model_gets_no_more_windows_than_are_set(images, at_once, expected):
    model, seen = segmentor(windows_at_once=at_once), []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    model.inference(torch.randn(images, 3, 68, 70), metas((68, 70), images))
    assert seen == expected  # of 3 x 4 windows


@torch.no_grad()
def test_predictions_of_one_output_and_of_a_batch():
    head = dict(num_classes=2, out_channels=1, threshold=0.5, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    model, inputs = segmentor(head=head), torch.randn(2, 3, 45, 61)
    found = model.predict(inputs)
    model.slide_inference = MMSegEncoderDecoder.slide_inference.__get__(model)
    for ours, theirs in zip(found, model.predict(inputs)):
        torch.testing.assert_close(ours.seg_logits.data, theirs.seg_logits.data, atol=1e-6, rtol=0)
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)


@torch.no_grad()
def test_a_head_of_masks_gives_logits_of_a_window():
    """mmseg's Mask2FormerHead resizes them to ``pad_shape``, which was that of the whole image."""
    model, inputs = segmentor('nepa_mm.EncoderDecoder'), torch.randn(2, 3, 45, 61)
    padded = [dict(meta, pad_shape=(64, 64)) for meta in metas((45, 61), 2)]
    expected, head = model.inference(inputs, padded), model.decode_head

    def predict(features, batch_img_metas, test_cfg):
        return head.predict_by_feat(head(features), [dict(img_shape=batch_img_metas[0]['pad_shape'])])

    head.predict = predict
    assert torch.equal(model.inference(inputs, padded), expected)


@pytest.mark.parametrize('side, window, stride, expected', [
    (28, 28, 20, [(0, 28)]), (20, 28, 20, [(0, 20)]), (48, 28, 20, [(0, 28), (20, 48)]),
    (49, 28, 20, [(0, 28), (20, 48), (21, 49)]),
])
def test_places_of_windows(side, window, stride, expected):
    assert [(place.start, place.stop) for place in window_places(side, window, stride)] == expected


def test_all_our_segmentation_configs_take_windows_at_once():
    for path in sorted((ROOT / 'configs/segmentation').glob('*.py')):
        kind = Config.fromfile(path).model.type
        if kind != 'CascadeEncoderDecoder':  # mmseg's, of PointRend
            assert issubclass(MODELS.get(kind), EncoderDecoder), path.name


@torch.no_grad()
def test_thousands_of_windows_are_warned_of(monkeypatch):
    model, said = segmentor(), []
    monkeypatch.setattr('nepa_mm.models.dense.windows.print_log', lambda *args: said.append(args))
    monkeypatch.setattr('nepa_mm.models.dense.windows.MANY', 12)
    model.inference(torch.randn(1, 3, 68, 70), metas((68, 70), 1))
    model.inference(torch.randn(1, 3, 68, 60), metas((68, 60), 1))
    assert said == [('70x68 pixels are 12 windows | model.test_cfg.crop_size=(28, 28), stride=(20, 18) | longer steps, or an '
                     'image that is scaled down, take less time', 'current', 30)]
