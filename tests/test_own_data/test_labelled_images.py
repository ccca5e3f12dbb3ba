"""Which images are of which class, in which split."""
from pathlib import Path

import pytest
from drawn_data import class_folders, image

from nepa_mm.errors import DataError
from nepa_mm.own_data.labelled_images import find_labelled


def found_in(data, **options):
    return find_labelled(data, **{'val_share': 0.25, 'seed': 0, **options})


def names(found, split):
    return [(str(path.relative_to(found.root)), *labels) for path, labels in found.splits[split]]


def test_folders_of_splits_are_read_as_they_are(tmp_path):
    for split, count in (('train', 3), ('valid', 2), ('test', 1)):
        class_folders(tmp_path / split, dict(cat=count, dog=count))
    found = found_in(tmp_path)
    assert found.classes == ['cat', 'dog'] and found.folders == dict(train='train', val='valid', test='test')
    assert names(found, 'test') == [('test/cat/cat0.png', 0), ('test/dog/dog0.png', 1)]
    assert found.counts('train') == [3, 3] and not found.remarks


def test_a_split_is_drawn_in_each_class_by_the_seed(tmp_path):
    class_folders(tmp_path, {'a': 8, 'b/inside': 4, 'c': 40})
    found, again, other = found_in(tmp_path), found_in(tmp_path), found_in(tmp_path, seed=1)
    assert found.counts('val') == [2, 1, 10] and found.counts('train') == [6, 3, 30]
    assert found.splits == again.splits != other.splits and found.folders is None
    assert {path for items in found.splits.values() for path, _ in items} == set(tmp_path.rglob('*.png'))
    assert found.remarks == ['no validation is there, so 13 images are drawn for it by seed 0, 25 % of each class']


def test_a_folder_around_all_and_names_of_two_folders(tmp_path):
    class_folders(tmp_path / 'data', {'pets/cat': 4, 'pets/dog': 4, 'birds/owl': 4})
    assert found_in(tmp_path).classes == ['birds', 'pets']
    assert found_in(tmp_path, class_level=2).classes == ['birds/owl', 'pets/cat', 'pets/dog']


def test_what_is_strange_is_said(tmp_path):
    class_folders(tmp_path, dict(a=2, b=60, c=0))
    said = ' | '.join(found_in(tmp_path).remarks)
    assert '1 class folders are empty and left out: c' in said
    assert "very unequal: 45 images of 'b', 1 of 'a'" in said


@pytest.mark.parametrize('counts, message', [
    (dict(cat=3), r"\['cat'\] is one class.*\| .* \| .*pretrain"),
    ({'Red fox': 2, 'red_fox': 2}, "'Red fox' and 'red_fox' have one name"),
    (dict(a=1, b=1), '2 images, one of each class at most'),
])
def test_classes_that_tell_nothing(tmp_path, counts, message):
    class_folders(tmp_path, counts)
    with pytest.raises(DataError, match=message):
        found_in(tmp_path)


def test_images_in_no_folder_and_a_class_of_validation_alone(tmp_path):
    image(tmp_path / 'flat/a.png')
    image(tmp_path / 'flat/b.png')
    with pytest.raises(DataError, match='lie in no class folders'):
        found_in(tmp_path / 'flat')
    class_folders(tmp_path / 'split/train', dict(a=2, b=2))
    class_folders(tmp_path / 'split/val', dict(a=2, c=2))
    with pytest.raises(DataError, match="class 'c' has images in 'val' and none in 'train'"):
        found_in(tmp_path / 'split')


def test_images_in_no_class_folder_are_left_out_with_a_word(tmp_path):
    for split in ('train', 'val'):
        class_folders(tmp_path / split, dict(a=2, b=2))
    for i in range(3):
        image(tmp_path / f'test/{i}.png')
    found = found_in(tmp_path)
    assert found.folders == dict(train='train', val='val') == {split: split for split in found.splits}
    assert found.remarks == ['3 images lie in no class folder and are left out']


def test_a_class_that_validation_lacks_takes_lists(tmp_path):
    class_folders(tmp_path / 'train', dict(a=2, b=2))
    class_folders(tmp_path / 'val', dict(b=2))
    found = found_in(tmp_path)
    assert found.folders is None and {labels for _, labels in found.splits['val']} == {(1, )}
    assert found.remarks == ['1 classes have no image to validate: a']


def test_a_table_of_several_labels_and_splits(tmp_path):
    for i in range(4):
        image(tmp_path / f'images/{i}.png')
    (tmp_path / 'labels.csv').write_text('path,label,split\nimages/0.png,red;round,train\nimages/1.png,blue,training\n'
                                         '2,red,val\n3.png,round|blue,test\n')
    found = found_in(tmp_path)
    assert found.several and found.classes == ['blue', 'red', 'round']
    assert {split: names(found, split) for split in found.splits} == dict(
        train=[('images/0.png', 1, 2), ('images/1.png', 0)], val=[('images/2.png', 1)], test=[('images/3.png', 0, 2)])


def test_a_table_beside_its_images_and_paths_of_both_kinds(tmp_path, monkeypatch):
    for i in range(4):
        image(tmp_path / f'images/{i}.png')
    (tmp_path / 'tables').mkdir()
    (tmp_path / 'tables/labels.csv').write_text(''.join(f'../images/{i}.png,{"ab"[i % 2]}\n' for i in range(4)))
    (tmp_path / 'labels.csv').write_text(f'images/0.png,a\n{tmp_path}/images/1.png,b\nimages/2.png,a\nimages/3.png,b\n')
    monkeypatch.chdir(tmp_path)
    assert find_labelled(Path('tables'), 0.5, 0).root == Path('images')
    assert find_labelled(Path('labels.csv'), 0.5, 0).root == tmp_path / 'images'
