"""The commands of docs/your_data.md on drawn data, in their order: from a folder to a segmenting model."""
import re

from document_commands import blocks_of
from drawn_bands import bands
from drawn_data import class_folders, image
from forks import run
from mask_layouts import LAYOUTS

from tiny import ROOT, counts

CHECKPOINTS = {'tools/test.py': 'work_dirs/scenes/iter_4.pth',
               'tools/inference/classify_images.py': 'work_dirs/pets/epoch_1.pth',
               'tools/inference/segment_images.py': 'work_dirs/aerial/iter_4.pth'}
# Short trainings of a small model; steps where segmentation counts no epochs
SHORT = dict(pretrain=['--epochs', 2, '--img-size', 32, '--patch-size', 8], classification=['--epochs', 1],
             segmentation=['--iters', 4, '--val-interval', 4])


@counts
def test_from_a_folder_to_a_segmenting_model(tmp_path):
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    class_folders(tmp_path / 'photos', dict(a=8, b=8))
    class_folders(tmp_path / 'pets', dict(cat=10, dog=10))
    LAYOUTS['ade'].draw(tmp_path / 'scenes')
    LAYOUTS['binary'].draw(tmp_path / 'aerial')  # whose config has numbers for keys, as does the one in the checkpoint
    for i in range(8):
        bands(tmp_path / f'tiles/{i}.tif', 4)
    commands = [command for block in blocks_of(ROOT, ROOT / 'docs/your_data.md') for command in block.commands(tmp_path)]
    printed = {}
    for _, script, *words in (command.argv for command in commands):
        if 'CHECKPOINT' in words:  # of what the trainings are tested by
            words = [CHECKPOINTS[script] if word == 'CHECKPOINT' else word for word in words]
            for name in ('scenes/images/test/1.jpg', 'pets/test/1.jpg'):
                image(tmp_path / name)
        if script == 'tools/new_config.py':
            words += [*SHORT[words[0]], '--cpu', '--memory', 8]
        printed[script, words[0]] = run(tmp_path, script, *words, OMP_NUM_THREADS='1')
    assert re.search(r'accuracy/top1: \d', printed['tools/train.py', 'pets.py'])
    adapted = 'patch embedding adapted from RGB to 4 channels'
    assert adapted in printed['tools/train.py', 'tiles.py'] and adapted not in printed['tools/train.py', 'pets.py']
    assert re.search(r'mIoU: \d', printed['tools/train.py', 'scenes.py'])
    assert 'classes, worst first' in printed['tools/train.py', 'pets.py']
    assert '<h2>Classes, worst first</h2>' in (tmp_path / 'scenes.html').read_text()
    assert [path.name for path in (tmp_path / 'maps').iterdir()] == ['1.png']
    assert re.match(r'path,label,score\npets/test/1.jpg,(cat|dog),0\.', (tmp_path / 'classes.csv').read_text())
    assert list((tmp_path / 'segmented').iterdir())
    assert "checkpoint='work_dirs/photos/epoch_2.pth'" in (tmp_path / 'scenes.py').read_text()
