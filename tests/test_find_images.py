import pytest
from PIL import Image

from nepa_mm.errors import DataError
from nepa_mm.find_images import IMAGE_SUFFIXES, find_images


def test_folders_and_lists_of_frames_come_in_order(tmp_path):
    (tmp_path / 'film/b').mkdir(parents=True)
    for name in ('frame_10.png', 'frame_2.png', 'b/1.JPG', 'notes.md'):
        (tmp_path / 'film' / name).touch()
    assert [path.name for path in find_images([tmp_path / 'film'])] == ['1.JPG', 'frame_2.png', 'frame_10.png']
    (tmp_path / 'frames.txt').write_text(f'film/frame_10.png\n\n{tmp_path}/film/frame_2.png\n')
    assert [path.name for path in find_images([tmp_path / 'frames.txt', tmp_path / 'film/b/1.JPG'])] == [
        'frame_10.png', 'frame_2.png', '1.JPG']
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty.txt').touch()
    (tmp_path / 'wrong.txt').write_text('film/frame_2.png\nnowhere.png\n')
    for name, message in [('empty', r'holds no image.* \| '
                                    r'.*empty'), ('none', r'no such file \| .*none \| give an image, a folder'),
                          ('empty.txt', 'names no image'), ('wrong.txt', r'nowhere.png does not exist.* \| .*wrong.txt, line 2')]:
        with pytest.raises(DataError, match=message):
            find_images([tmp_path / name])


def test_links_to_folders_are_followed_and_hidden_files_left_out(tmp_path):
    (tmp_path / 'store').mkdir()
    (tmp_path / 'film').mkdir()
    for name in ('store/1.png', 'film/2.png', 'film/._2.png'):
        (tmp_path / name).touch()
    (tmp_path / 'film/more').symlink_to(tmp_path / 'store')
    assert find_images([tmp_path / 'film']) == [tmp_path / 'film/2.png', tmp_path / 'film/more/1.png']


def test_a_list_may_begin_with_a_mark_of_its_bytes_order(tmp_path):
    (tmp_path / 'a.png').touch()
    (tmp_path / 'list.txt').write_bytes(b'\xef\xbb\xbfa.png\r\n')
    assert find_images([tmp_path / 'list.txt']) == [tmp_path / 'a.png']


def test_suffixes_are_those_that_pillow_decodes_by_itself():
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    others = {'.bufr', '.grib', '.h5', '.hdf', '.wmf', '.emf', '.mpg', '.mpeg', '.eps', '.ps', '.iim'}  # see there
    rare = {'.blp', '.ftc', '.ftu', '.gbr', '.icb', '.vda', '.vst'}  # of games and brushes; not in every release
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES) and known - set(IMAGE_SUFFIXES) <= others | rare
    if Image.__version__ >= '13':
        assert set(IMAGE_SUFFIXES) <= known
