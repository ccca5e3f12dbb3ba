from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope, init_default_scope

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.launch.checks.data import check_data
from nepa_mm.launch.config_parts import datasets_of, steps_of
from nepa_mm.launch.naming_errors import naming
from nepa_mm.launch.read_config import read_every_suffix


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def loader(type='ImageNet', **dataset):
    return Config(dict(train_dataloader=dict(dataset=dict(type=type, **dataset))))


def test_missing_data_root_names_key_and_path(tmp_path):
    with pytest.raises(DataError, match=r"'.*/nowhere' does not exist \| train_dataloader.dataset.data_root \| .*--cfg-options"):
        check_data(loader(data_root=str(tmp_path / 'nowhere')))


def test_missing_folder_lists_what_is_there(tmp_path):
    image(tmp_path / 'training/cat/1.jpg')
    with pytest.raises(DataError, match=r"^'train': there is no folder '.*/train' \| .*dataset.split \| "
                                        r".* holds, \['training'\]"):
        check_data(loader(data_root=str(tmp_path), split='train'))
    with pytest.raises(DataError, match=r"^'maps': there is no folder .* \| .*data_prefix.seg_map_path"):
        check_data(loader(data_root=str(tmp_path), data_prefix=dict(img_path='training', seg_map_path='maps')))
    with pytest.raises(ConfigError, match=r"^None is no folder \| train_dataloader.dataset.data_prefix.seg_map_path \| .*leave "):
        check_data(loader(data_root=str(tmp_path), data_prefix=dict(img_path='training', seg_map_path=None)))


def test_empty_class_folder_is_named(tmp_path):
    image(tmp_path / 'train/cat/1.JPEG')
    check_data(loader(data_root=str(tmp_path), split='train', metainfo=dict(classes=['cat'])))
    with pytest.raises(DataError, match=r"'ImageNet' has 1000 classes, but '.*/train' has 1 folders.* \| .*dataset.type \| "
                                        r"name them"):
        check_data(loader(data_root=str(tmp_path), split='train'))
    image(tmp_path / 'train/dog/1.heic')  # which Pillow does not read
    with pytest.raises(DataError, match=r"class folder '.*/train/dog' holds no image.* \| train_dataloader.dataset"):
        check_data(loader(data_root=str(tmp_path), split='train'))
    rare = loader(data_root=str(tmp_path), split='train', metainfo=dict(classes=['cat', 'dog'])).train_dataloader
    check_data(Config(dict(test_dataloader=rare)))
    check_data(loader(data_root=str(tmp_path), data_prefix='train', with_label=False))  # no labels, no classes
    with pytest.raises(DataError, match=r"^'.*/dog' holds no image \(known: .jpg, .jpeg, .png, .webp, ...\) \| .* \| choose "):
        check_data(loader(data_root=str(tmp_path), data_prefix='train/dog', with_label=False))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='has no class folders'):
        check_data(loader(data_root=str(tmp_path), data_prefix='empty'))


def test_names_are_as_many_as_folders(tmp_path):
    for name in ('cat', 'dog'):
        image(tmp_path / f'val/{name}/1.jpg')
    for prefix in ('val', dict(img_path='val')):
        dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix=prefix)
        check_data(loader(**dataset, metainfo=dict(classes=['a', 'b'])))
        with pytest.raises(DataError, match=r"^3 names, but '.*/val' has .* none is called 'cow' \| train_dataloader.dataset"
                                            r'.metainfo.classes \| name each folder'):
            check_data(loader(**dataset, metainfo=dict(classes=['cat', 'cow', 'dog'])))


def said(capsys):
    """What standard error has got, in one line."""
    return ' '.join(capsys.readouterr().err.split())


def test_one_rule_of_suffixes_and_what_it_leaves_out_is_counted(tmp_path, capsys):
    for name in 'a/0.JPG a/1.webp a/2.tiff b/3.gif b/4.avif b/notes.txt b/5.heic b/6.heic b/.hidden 7.png'.split():
        image(tmp_path / name)
    for dataset in (dict(type='mmpretrain.CustomDataset'), dict(type='ImageNet', metainfo=dict(classes=['a', 'b']))):
        for with_label in (True, False):
            cfg = loader(**dataset, data_root=str(tmp_path), with_label=with_label)
            read_every_suffix(cfg)
            check_data(cfg)
            lines = said(capsys)
            assert (f"nepa_mm: train_dataloader.dataset: '{tmp_path}': 3 of {8 if with_label else 9} files are left out, for "
                    'they end as no image does (.heic 2, .txt 1)') in lines
            assert ('1 of 1 files are left out, for they lie beside the class folders (.png 1)' in lines) == with_label
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                assert len(DATASETS.build(cfg.train_dataloader.dataset)) == (5 if with_label else 6)
    own = loader('CustomDataset', data_root=str(tmp_path), data_prefix=dict(img_path='a'), with_label=False,
                 extensions=('.WEBP', ))
    read_every_suffix(own)
    assert own.train_dataloader.dataset.extensions == ('.WEBP', )
    check_data(own)
    assert '2 of 3 files are left out, for they end as no image does (.jpg 1, .tiff 1)' in said(capsys)
    own.train_dataloader.dataset.extensions = ('.tif', )
    with pytest.raises(DataError, match=r"/a' holds no image \(known: .tif\) \| train_dataloader.dataset \| .* extensions"):
        check_data(own)


def test_images_behind_links_count(tmp_path):
    image(tmp_path / 'elsewhere/deep/1.jpg')
    (tmp_path / 'train/cat').mkdir(parents=True)
    (tmp_path / 'train/cat/link').symlink_to(tmp_path / 'elsewhere/deep')
    (tmp_path / 'train/dog').symlink_to(tmp_path / 'elsewhere')
    check_data(loader(type='CustomDataset', data_root=str(tmp_path / 'train')))


def test_datasets_with_ways_of_their_own_are_left_to_themselves(tmp_path):
    check_data(loader(type='CIFAR10', data_root=str(tmp_path / 'to-be-downloaded'), split='train'))
    image(tmp_path / 'test/1.jpg')
    check_data(loader(data_root=str(tmp_path), split='test'))  # ImageNet's has no labels


def test_of_a_hugging_face_dataset_only_the_folder_is_checked(tmp_path):
    dataset = dict(type='nepa_mm.HFImageDataset', data_root=str(tmp_path), split='train')
    check_data(loader(**dataset))
    with pytest.raises(DataError, match=r"'.*/nowhere' does not exist \| train_dataloader.dataset.data_root \| .*--cfg-options"):
        check_data(loader(**{**dataset, 'data_root': str(tmp_path / 'nowhere')}))


def test_datasets_inside_wrappers_are_checked():
    missing = dict(type='mmpretrain.CustomDataset', data_root='/nowhere')
    with pytest.raises(DataError, match='train_dataloader.dataset.dataset.data_root'):
        check_data(loader(type='RepeatDataset', dataset=missing))
    with pytest.raises(DataError, match=r'train_dataloader.dataset.datasets.0.data_root'):
        check_data(loader(type='ConcatDataset', datasets=[missing]))


@pytest.fixture
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def seg(tmp_path, scope):
    """Folders of two images with a label map each, one a town further down, and the config of their dataset."""
    for name in ('a', 'town/b'):
        for path in (tmp_path / f'images/{name}.jpg', tmp_path / f'labels/{name}.png'):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    return tmp_path, dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=['x']), pipeline=[dict(type='nepa_mm.LoadSegAnnotations')])


def test_good_segmentation_data_passes(seg, capsys):
    root, dataset = seg
    check_data(loader(**dataset))
    assert 'left out' not in said(capsys)
    image(root / 'images/c.png')
    check_data(loader(**dataset))
    assert (f"nepa_mm: train_dataloader.dataset: '{root}/images': 1 of 3 files are left out, for they do not end in "
            "img_suffix='.jpg' (.png 1)") in said(capsys)
    check_data(loader(**{**dataset, 'data_prefix': dict(img_path='images')}))  # a test without labels
    (root / 'list.txt').write_text('town/b\n')
    (root / 'labels/a.png').unlink()
    check_data(loader(**dataset, ann_file='list.txt'))
    check_data(loader(**{**dataset, 'type': 'PascalVOCDataset', 'metainfo': None}, ann_file='list.txt'))
    check_data(loader(**dataset, indices=[1]))
    check_data(loader(**{**dataset, 'type': 'OfAnotherPackage'}))


@pytest.mark.parametrize('type', ['BaseSegDataset', 'PascalVOCDataset'])
def test_a_missing_list_of_images_is_named_inside_a_wrapper_too(type, seg):
    root, dataset = seg
    dataset.update(type=type, ann_file='lists/train.txt', metainfo=None)
    message = r"^'lists/train.txt': there is no file '.*/lists/train.txt' \| train_dataloader.dataset"
    with pytest.raises(DataError, match=rf'{message}.ann_file \| give'):
        check_data(loader(**dataset))
    with pytest.raises(DataError, match=rf'{message}.datasets.1.dataset.ann_file \| give'):
        good = dict(dataset, type='BaseSegDataset', ann_file='')
        check_data(loader(type='ConcatDataset', datasets=[good, dict(type='RepeatDataset', dataset=dataset)]))
    if type == 'PascalVOCDataset':
        with pytest.raises(ConfigError, match=r"^'' is no list of images, which Pascal.* \| train_dataloader.dataset.ann_file"):
            check_data(loader(**{**dataset, 'ann_file': ''}))


def test_a_list_of_images_that_are_not_there(seg):
    root, dataset = seg
    (root / 'list.txt').write_text('a\nc\n')
    with pytest.raises(DataError, match=r"list.txt' lists 2 images, of which 1 are not there, such as '.*/images/c.jpg' \| "
                                        r".*.ann_file \| .* check data_prefix.img_path and img_suffix='.jpg'"):
        check_data(loader(**dataset, ann_file='list.txt'))
    (root / 'list.txt').write_text('')
    with pytest.raises(DataError, match=r"'list.txt' lists no image.* \| .*ann_file"):
        check_data(loader(**dataset, ann_file='list.txt'))


def test_images_and_label_maps_of_another_suffix(seg):
    root, dataset = seg
    with pytest.raises(DataError, match=r"^'.tif': no file in '.*/images' ends so \| .*\.img_suffix \| .* \['a.jpg', 'town'\]"):
        check_data(loader(**dataset, img_suffix='.tif'))
    with pytest.raises(DataError, match=r"^'.*/labels': 2 of 2 images have no label map, such as '.*/images/a.jpg', whose would "
                                        r"be '.*/labels/a_ids.png' \| .*\.data_prefix.seg_map_path \| .* seg_map_suffix='_ids"):
        check_data(loader(**dataset, seg_map_suffix='_ids.png'))
    (root / 'labels/town/b.png').unlink()
    with pytest.raises(DataError, match="1 of 2 images have no label map, such as '.*/images/town/b.jpg', whose would be"):
        check_data(loader(**dataset))


def test_reduce_zero_label_of_dataset_and_pipeline(seg):
    load = dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True)
    dataset = dict(seg[1], pipeline=[dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip')], [load]])])
    with pytest.raises(ConfigError, match=r'^True differs from train_dataloader.dataset.reduce_zero_label=False \| '
                                          r'train_dataloader.dataset.pipeline.0.transforms.1.0.reduce_zero_label \| set both'):
        check_data(loader(**dataset))
    check_data(loader(**dataset, reduce_zero_label=True))


def test_metainfo_that_is_none_of_the_dataset(seg):
    dataset = dict(seg[1], type='CityscapesDataset', img_suffix='.jpg', seg_map_suffix='.png', metainfo=dict(classes=['x']))
    with pytest.raises(ConfigError, match=r'does not fit CityscapesDataset: new classes .*not.* \| '
                                          r'train_dataloader.dataset.metainfo'):
        check_data(loader(**dataset))


def test_an_error_about_a_file_gets_the_key_of_its_folder(seg):
    root, dataset = seg
    cfg = Config(dict(train_dataloader=dict(dataset=dict(datasets=[dataset, {**dataset, 'data_root': '/other'}])),
                      val_dataloader=dict(dataset=dataset)))
    assert [key for key, _ in datasets_of(cfg, ('train', ))] == [
        'train_dataloader.dataset.datasets.0', 'train_dataloader.dataset.datasets.1', 'train_dataloader.dataset']
    mixed = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[], dataset=dict(dataset=dict(type='A'))))))
    assert [key for key, _ in datasets_of(mixed, ('train', ))] == [
        'train_dataloader.dataset.dataset.dataset', 'train_dataloader.dataset']
    bad = DataError(f"not as img_path='{root}/images/town/b.jpg' is", f"seg_map_path='{root}/labels/town/b.png'", 'mend it')
    key = 'train_dataloader.dataset.datasets.0.data_prefix.seg_map_path'
    from_worker = DataError(f'Caught DataError in a worker.\nTraceback\nnepa_mm.errors.DataError: {bad}\n')
    for one in (bad, from_worker):
        with pytest.raises(DataError) as error, naming(cfg, ('train', )):
            raise one
        assert (error.value.what, error.value.where, error.value.remedy) == (bad.what, f'{bad.where} ({key})', bad.remedy)
    with pytest.raises(DataError) as error, naming(cfg, ('train', 'val')):
        raise bad
    assert error.value.where.endswith(f' ({key} or val_dataloader.dataset.data_prefix.seg_map_path)')
    for where in ('no file here', "seg_map_path='/elsewhere/b.png'"):
        with pytest.raises(DataError) as error, naming(cfg, ('train', )):
            raise DataError('bad', where, 'mend it')
        assert error.value.where == where


def test_steps_inside_other_steps_have_keys_that_the_config_knows():
    pipeline = [dict(type='A'), dict(type='T', transforms=[[dict(type='B'), dict(type='C')], dict(type='D')])]
    assert {key: step['type'] for key, step in steps_of(dict(pipeline=pipeline), 'p')} == {
        f'p.pipeline.{key}': kind for key, kind in {
            '0': 'A', '1': 'T', '1.transforms.0.0': 'B', '1.transforms.0.1': 'C', '1.transforms.1': 'D'}.items()}
