"""Images through a model: the numbers of one image at a time, in order, whatever workers, batches and faults there are."""
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope
from mmpretrain import ImageClassificationInferencer
from mmpretrain.models import ClsHead
from PIL import Image

from nepa_mm.apis.image_batches import PreparedImages
from nepa_mm.apis.images import load_image, loader_of, preparation_of
from nepa_mm.apis.predictions import best_classes, best_matches, features, vectors_of
from nepa_mm.apis.run_model import Inference
from nepa_mm.errors import ConfigError, ProcessError
from tiny import TINY, randomize

PIPELINE = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.TimmTransform', input_size=28, is_training=False, interpolation='bicubic', crop_pct=0.875, mean=[0.5] * 3,
         std=[0.5] * 3),
    dict(type='PackInputs')]


@pytest.fixture(scope='module')
def model():
    config = Config(dict(
        model=dict(
            type='ImageClassifier',
            backbone=dict(type='nepa_mm.NEPAViT', arch=TINY['arch'], img_size=28, patch_size=7, causal=False,
                          out_type='avg_featmap'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=16)),
        test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = randomize(MODELS.build(config.model)).train(False)
    model._config, model._dataset_meta = config, {}
    return model


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
    """Seven images, of which the third is none and the sixth a line."""
    folder, random = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    paths = [folder / f'{i}.png' for i in range(7)]
    for path in paths:
        pixels = np.kron(random.integers(0, 256, (3, 3, 3)), np.ones((12, 16, 1)))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    paths[2].write_text('no image')
    Image.new('L', (1200, 1)).save(paths[5])
    return paths


def inference(model, batch_size=3, workers=0, **ways) -> Inference:
    return Inference(model, loader_of(model), preparation_of(model), batch_size, workers, **ways)


def found(run: Inference, paths, predict, **options) -> tuple[int, list[int], dict[str, np.ndarray]]:
    """How many failed, the images of the others as they came, and their columns."""
    order, parts = [], []
    failed = run.run(paths, predict, lambda indices, columns: (order.extend(indices), parts.append(columns)), **options)
    return failed, order, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def one_by_one(model, paths) -> np.ndarray:
    """Features of each image alone, through the whole pipeline of the config."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipeline = Compose(PIPELINE)
    with torch.no_grad():
        return np.stack([model.extract_feat(pipeline(dict(img_path=str(path)))['inputs'][None])[-1][0].numpy() for path in paths])


def scores_of(model, paths) -> list[np.ndarray]:
    """By mmpretrain."""
    return [result['pred_scores'] for result in ImageClassificationInferencer(model)([str(path) for path in paths])]


@pytest.mark.parametrize('workers', [0, 2])
def test_features_are_those_of_each_image_alone_in_the_order_of_the_images(workers, model, paths, capfd):
    failed, order, columns = found(inference(model, workers=workers), paths, features(vectors_of(model)))
    assert failed == 2 and order == [0, 1, 3, 4, 6]
    np.testing.assert_allclose(columns['features'], one_by_one(model, [paths[i] for i in order]), atol=1e-5)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and f"img_path='{paths[2]}'" in lines[0] and '1200x1 pixels are a line' in lines[1]
    assert all(line.startswith('nepa_mm: error: ') for line in lines)


def test_classes_are_those_of_mmpretrain_s_inferencer_also_from_a_head_of_other_scores(model, paths):
    paths = [paths[i] for i in (0, 1, 3, 4, 6)]
    expected = scores_of(model, paths)

    class Doubtful(ClsHead):
        def __init__(self) -> None:
            super().__init__()
            self.fc = model.head.fc

        def forward(self, feats):
            return self.fc(feats[-1])

        def _get_predictions(self, scores, samples):
            return super()._get_predictions(scores / 2, samples)

    for halved in (False, True):
        head = model.head
        try:
            if halved:
                model.head = Doubtful()
                expected = scores_of(model, paths)
            _, _, columns = found(inference(model), paths, best_classes(model, 3))
        finally:
            model.head = head
        order = np.argsort(-np.array(expected), axis=1)[:, :3]
        np.testing.assert_array_equal(columns['labels'], order)
        np.testing.assert_allclose(columns['scores'], np.take_along_axis(np.array(expected), order, axis=1), atol=1e-5)


def test_neighbours_are_the_nearest_by_cosine(model, paths):
    paths = [paths[i] for i in (0, 1, 3, 4, 6)]
    vectors = torch.from_numpy(one_by_one(model, paths))
    cosines = torch.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    _, _, columns = found(inference(model), paths, best_matches(vectors_of(model), vectors, 2))
    np.testing.assert_array_equal(columns['labels'], cosines.topk(2).indices)
    np.testing.assert_allclose(columns['scores'], cosines.topk(2).values, atol=1e-5)


def test_bfloat16_is_close_and_gives_float32(model, paths):
    paths = [paths[i] for i in (0, 1, 3, 4, 6)]
    exact = one_by_one(model, paths)
    _, _, columns = found(inference(model, amp=True), paths, features(vectors_of(model)))
    assert columns['features'].dtype == np.float32
    off = np.abs(columns['features'] - exact).max() / np.abs(exact).max()
    assert 1e-5 < off < 0.05


def test_batches_of_a_compiled_model_have_one_size(model, paths, monkeypatch):
    monkeypatch.setattr(model.backbone, 'compile', lambda: None)  # which would take a minute
    sizes, vectors = [], vectors_of(model)
    run = inference(model, batch_size=2, compile=True)

    def predict(inputs, samples):
        sizes.append(len(inputs))
        return dict(features=vectors(inputs, samples).numpy())

    failed, order, columns = found(run, paths, predict)
    assert sizes == [2] * 4 and order == [0, 1, 3, 4, 6] and failed == 2
    np.testing.assert_allclose(columns['features'], one_by_one(model, [paths[i] for i in order]), atol=1e-5)


@pytest.mark.slow
def test_a_compiled_model_gives_the_numbers_of_a_plain_one(model, paths):
    expected = found(inference(model), paths, features(vectors_of(model)))[2]['features']
    try:
        columns = found(inference(model, batch_size=2, compile=True), paths, features(vectors_of(model)))[2]
        assert model.backbone._compiled_call_impl is not None
    finally:
        model.backbone._compiled_call_impl = None
    np.testing.assert_allclose(columns['features'], expected, atol=1e-4)


def test_images_of_other_shapes_go_by_themselves_and_keep_their_order(model, paths):
    shapes = []

    def prepare(results):
        height, width = (28, 28) if results['img'][0, 0, 0] % 2 else (28, 35)
        return dict(inputs=torch.zeros(3, height, width))

    def predict(inputs, samples):
        shapes.append(tuple(inputs.shape))
        return dict(width=np.full(len(inputs), inputs.shape[-1]))

    run = Inference(model, loader_of(model), prepare, batch_size=7)
    _, order, columns = found(run, paths, predict)
    odd = [load_image(paths[i])[0, 0, 0] % 2 for i in order]
    assert order == [0, 1, 3, 4, 6] and columns['width'].tolist() == [28 if each else 35 for each in odd]
    assert 1 < len(shapes) == 1 + np.count_nonzero(np.diff(odd)) and sum(shape[0] for shape in shapes) == 5


def test_an_image_that_cannot_be_predicted_costs_a_line_and_no_other(model, paths, capfd):
    vectors = vectors_of(model)
    bad = PreparedImages(paths, loader_of(model), preparation_of(model))[3].inputs

    def predict(inputs, samples):
        if any(torch.equal(image, bad) for image in inputs):
            raise ValueError('too odd\nto say more')
        return dict(features=vectors(inputs, samples).numpy())

    failed, order, columns = found(inference(model), paths, predict)
    assert failed == 3 and order == [0, 1, 4, 6]
    np.testing.assert_allclose(columns['features'], one_by_one(model, [paths[i] for i in order]), atol=1e-5)
    assert f'48x36 pixels cannot be predicted (ValueError: too odd) | {paths[3]} | leave it out' in capfd.readouterr().err


def test_too_little_memory_ends_in_one_line(model, paths):
    def predict(inputs, samples):
        raise torch.OutOfMemoryError('CUDA out of memory')

    with pytest.raises(ConfigError, match=r'^2 takes more memory than the device has \| --batch-size \| lower it'):
        inference(model, batch_size=2).run(paths, predict, None)


def test_a_worker_that_dies_ends_in_one_line(model, paths):
    def prepare(results):
        os._exit(1)

    with pytest.raises(ProcessError, match=r'a worker died.* \| --workers \| '):
        Inference(model, loader_of(model), prepare, batch_size=2, workers=1).run(paths, None, None)


def test_what_is_done_is_left_out_by_whole_batches(model, paths):
    done = np.array([True, True, True, False, True, True, True])
    _, order, _ = found(inference(model), paths, features(vectors_of(model)), done=done)
    assert order == [3, 4]  # the fifth is done: the batch is that of a run from the start


def test_workers_take_paths_of_any_characters(model, tmp_path):
    names = [os.fsdecode(b'\xff.png'), 'ä ö.png', '']
    paths = [Path(tmp_path, name) for name in names]
    images = PreparedImages(paths, None, None)
    assert [images.path(i) for i in range(len(images))] == [str(path) for path in paths]
