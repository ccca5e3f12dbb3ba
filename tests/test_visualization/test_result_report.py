"""The report of a test: its tables as text, and a page that asks nobody for anything."""
import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import torch
from PIL import Image

from nepa_mm.errors import DataError
from nepa_mm.evaluation.tallies import ClassificationTally, MultiLabelTally, SegmentationTally
from nepa_mm.visualization.result_report import NO_CLASS, ResultReport

PALETTE = [[10, 20, 30], [200, 0, 0], [0, 0, 200]]
NAMES = ['sky', 'road & <b>', '[bold]car']


class Page(HTMLParser):
    """Elements of a page, all of which must be closed in their order."""
    VOID = {'meta', 'img'}

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.said = [], [], ''
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data if self.open[-1:] != ['style'] else ''

    def pictures(self):
        for _, attributes in filter(lambda each: each[0] == 'img', self.seen):
            kind, data = re.fullmatch(r'data:image/(png|jpeg);base64,(.+)', attributes['src']).groups()
            yield attributes, Image.open(io.BytesIO(base64.b64decode(data)))


def segmentation(images=14):
    tally = SegmentationTally(NAMES, 255)
    for number in range(images):
        draw = np.random.default_rng(number)
        label = draw.integers(0, 3, (30, 40))
        said = np.where(draw.random((30, 40)) < number / images, label, draw.integers(0, 3, (30, 40)))
        label[0] = 255
        tally.add(number, dict(pred_sem_seg=dict(data=torch.as_tensor(said)[None]), img_path=f'long/folder/{number}.jpg',
                               gt_sem_seg=dict(data=torch.as_tensor(label)[None])))
    metrics = dict(mIoU=np.float32(12.346), confusion_matrix=torch.eye(3), classwise=[1.5])
    return ResultReport('Test of <x>.pth', dict(config='c.py'), metrics, tally, PALETTE)


def picture(image):
    if image.index == 0:
        raise DataError('it is <gone>', image.path, '')
    return Image.new('RGB', (800, 600), (image.index, 90, 90))


def test_the_page_has_all_inside_and_its_names_are_no_markup():
    report = segmentation()
    text = report.page(picture)
    page = Page(text)
    assert not re.search(r'https?:|<script|@import|url\(|<link', text) and len(text) < 100_000
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text and 'color-scheme: light' in text
    for words in ('Test of <x>.pth', 'road & <b>', '[bold]car', 'no picture: it is <gone>', '12.35', 'folder/13.jpg'):
        assert words in page.said
    assert '<b>' not in text and page.said.count('mIoU') == 1 and 'classwise' not in text and 'tensor' not in text
    pictures = list(page.pictures())
    assert len(pictures) == 12 * 3 - 1
    for attributes, image in pictures:
        assert image.size == tuple(int(attributes[side]) for side in ('width', 'height')) and max(image.size) <= 320
        assert attributes['alt']


def test_label_maps_have_the_colours_of_the_classes():
    report = segmentation()
    worst = report.tally.extremes.sheet()[0][1]
    maps = [image for attributes, image in Page(report.page(picture)).pictures() if attributes.get('class') == 'map']
    for pixels, shown in zip(worst.facts, maps[2:4]):
        colours = np.array([*PALETTE, NO_CLASS])[np.where(pixels == 255, 3, pixels)]
        assert (np.asarray(shown.convert('RGB')) == colours).all()
    assert (worst.facts[0][0] == 255).all()


def test_the_text_has_the_tables_and_shortens_those_of_many_classes():
    text = segmentation().text()
    assert text.isascii() and max(map(len, text.splitlines())) <= 120
    assert '[bold]car' in text and 'confusions that cost most' in text and 'worst of 14 images' in text
    tally = ClassificationTally([f'class {number}' for number in range(100)])
    for number in range(100):
        scores = torch.zeros(100)
        scores[0 if number < 50 else number] = 1
        tally.add(number, dict(gt_label=torch.tensor([number]), pred_score=scores, img_path=f'{number}.jpg'))
    lines = ResultReport('Test', {}, {}, tally).text().split('confusions')[0].splitlines()
    rows = [line for line in lines if re.match(r'class \d|\.\.\.|all', line)]
    assert len(rows) == 40 and rows[33] == '...' and re.match(r'all +100 +51.00', rows[-1])
    assert len([row for row in Page(ResultReport('Test', {}, {}, tally).page(picture)).seen if row[0] == 'tr']) == 102 + 11


def test_captions_say_what_it_was_and_what_it_was_taken_for():
    tally = ClassificationTally(['cat', 'dog'])
    for number, score in enumerate((0.1, 0.9)):
        tally.add(number, dict(gt_label=torch.tensor([0]), pred_score=torch.tensor([score, 1 - score]), img_path=f'{number}.jpg'))
    said = Page(ResultReport('Test', {}, {}, tally).page(lambda image: Image.new('RGB', (9, 9)))).said
    assert 'cat 10.0 %, taken for dog 90.0 %' in said and 'cat 90.0 %1.jpg' in said
    tally = MultiLabelTally(['red', 'blue'])
    tally.add(0, dict(gt_label=torch.tensor([0]), pred_score=torch.tensor([0.1, 0.2]), img_path='0.jpg'))
    tally.add(1, dict(gt_label=torch.tensor([0, 1]), pred_score=torch.tensor([0.9, 0.9]), img_path='1.jpg'))
    said = Page(ResultReport('Test', {}, {}, tally).page(lambda image: Image.new('RGB', (9, 9)))).said
    assert 'red; said: nothing0.jpg' in said and 'red, blue1.jpg' in said
