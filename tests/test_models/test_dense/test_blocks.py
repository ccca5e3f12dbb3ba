"""Blocks of logits beside those of the whole image in slide mode."""
import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope

from nepa_mm.models.dense.blocks import LEAST, labels_of, logit_blocks, spans, window_grid
from nepa_mm.models.dense.windows import window_places
from slide import metas, segmentor

# H, W for windows of 28 x 28 in steps of 20 x 18: one window, less than one, several, of which the last reach back
SIZES = [(28, 28), (20, 17), (45, 61), (28, 90), (75, 33), (120, 130)]
STEP = 18 * 3 * 28 * 4  # bytes of logits of one step


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


def joined(model, image, most):
    """Logits of an image [1, 3, H, W], from blocks that cover each pixel once."""
    size, seen = tuple(image.shape[2:]), torch.zeros(image.shape[2:])
    logits = torch.full((model.out_channels, *size), torch.nan)

    def read(places):
        return torch.cat([image[:, :, rows, columns] for rows, columns in places])

    for rows, columns, block in logit_blocks(model, size, read, most):
        logits[:, rows, columns] = block
        seen[rows, columns] += 1
    assert (seen == 1).all()
    return logits


@torch.no_grad()
@pytest.mark.parametrize('kind', ['nepa_mm.PaddedEncoderDecoder', 'nepa_mm.EncoderDecoder', 'mmseg.EncoderDecoder'])
@pytest.mark.parametrize('size', SIZES)
def test_blocks_are_the_whole_image(size, kind, monkeypatch):
    monkeypatch.setattr('nepa_mm.models.dense.blocks.LEAST', 0)
    model, image = segmentor(kind, windows_at_once=1), torch.randn(1, 3, *size)
    exact = model.inference(image, metas(size, 1))[0]
    labels = model.predict(image)[0].pred_sem_seg.data[0]
    for most in (2**28, 3 * STEP, STEP, 1):  # all columns, some, one step, and never less than that
        found = joined(model, image, most)
        assert torch.equal(found, exact)  # the same numbers in the same order
        assert torch.equal(labels_of(model, found), labels)
    model.test_cfg.windows_at_once = 5
    assert (joined(model, image, 3 * STEP) - exact).abs().max() <= 1e-6 * exact.abs().max()


@torch.no_grad()
def test_one_output_with_a_threshold():
    head = dict(num_classes=2, out_channels=1, threshold=0.4, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    model, image = segmentor(head=head, windows_at_once=1), torch.randn(1, 3, 75, 61)
    labels = labels_of(model, joined(model, image, 2**28))
    assert torch.equal(labels, model.predict(image)[0].pred_sem_seg.data[0].bool()) and 0 < labels.float().mean() < 1


@pytest.mark.parametrize('width, most, expected', [
    (28, 99, [(0, 28)]), (20, 1, [(0, 20)]), (90, 40, [(0, 36), (36, 62), (62, 90)]), (90, 200, [(0, 90)]),
    (64, 18, [(0, 18), (18, 36), (36, 64)]), (64, 1, [(0, 18), (18, 36), (36, 64)]),
])
def test_spans_are_of_whole_steps(width, most, expected):
    _, columns = window_grid((28, width), segmentor().test_cfg)
    assert [(span.start, span.stop) for span in spans(columns, most)] == expected


def test_how_many_windows_are_predicted_twice():
    """As the documents say, of windows of 48 pixels and spans of at least four of them."""
    def share(width, stride):
        columns = window_places(width, 48, stride)
        within = [place for span in spans(columns, LEAST * 48) for place in columns
                  if place.start < span.stop and place.stop > span.start]
        return len(within) / len(columns) - 1

    assert share(10_000, 32) == pytest.approx(1 / 6, abs=0.005)
    strides = 8, 24, 32, 36, 40, 47
    assert max(share(10_000, stride) for stride in strides) == pytest.approx(1 / 4, abs=0.005)
    assert max(share(width, stride) for stride in strides for width in range(190, 220)) == pytest.approx(1 / 3)


@torch.no_grad()
def test_windows_are_read_once_where_their_logits_fit():
    model, places = segmentor(windows_at_once=4), []

    def read(some):
        places.extend(some)
        return torch.zeros(len(some), 3, 28, 28)

    rows, columns = window_grid((120, 130), model.test_cfg)
    for _ in logit_blocks(model, (120, 130), read):
        pass
    assert places == [(row, column) for row in rows for column in columns]
    places.clear()
    shapes = {block.shape for *_, block in logit_blocks(model, (120, 130), read, 1)}  # no wider than 4 * 28
    assert {shape[2] for shape in shapes} == {102, 28} and len(places) == len(rows) * (len(columns) + 1)
