"""The report in a real browser: on a phone and a desk, without JavaScript, and without asking anybody for anything.

NEPA_SCREENSHOT=folder NEPA_PAGE=report.html makes the last test take pictures of a report of yours.
"""
import base64
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nepa_mm.evaluation.tallies import SegmentationTally
from nepa_mm.visualization.result_report import ResultReport

SIZES = dict(phone=(360, 740), desk=(1280, 800))


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    """Of a report of 14 images of 120 x 90 pixels, with a long name of a class."""
    tally = SegmentationTally(['sky', 'road', 'a vehicle that is no bicycle'], 255)
    for number in range(14):
        draw = np.random.default_rng(number)
        label, said = draw.integers(0, 3, (2, 90, 120))
        said = np.where(draw.random((90, 120)) < number / 14, label, said)
        tally.add(number, dict(img_path=f'a/rather/long/folder/of/images/{number}.jpg', **{
            name: dict(data=torch.as_tensor(part)[None]) for name, part in (('pred_sem_seg', said), ('gt_sem_seg', label))}))
    report = ResultReport('Test of iter_300.pth', dict(config=f'configs/{"long_" * 20}name.py'), dict(aAcc=50., mIoU=33.3), tally,
                          [[90, 150, 230], [120, 120, 120], [200, 0, 0]])
    path = Path(os.environ.get('NEPA_PAGE', tmp_path_factory.mktemp('report') / 'report.html')).resolve()
    if not path.exists():
        path.write_text(report.page(lambda image: Image.new('RGB', (120, 90), (20 * image.index, 90, 90))))
    return f'file://{path}'


@pytest.fixture(params=SIZES)
def page(browser, address, request):
    width, height = SIZES[request.param]
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(
        width=width, height=height, deviceScaleFactor=1, mobile=request.param == 'phone'))
    browser.get(address)
    return browser


def test_it_fits_its_window_and_asks_nobody(page):
    assert page.execute_script('return document.documentElement.scrollWidth <= innerWidth')
    asked = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name.slice(0, 5))")
    assert set(asked) <= {'data:'} and page.get_log('browser') == []
    assert page.execute_script('return [...document.images].every(image => image.complete && image.naturalWidth > 0)')
    # Text is dark on white, whatever the reader's system prefers, and no number lies under another
    assert page.execute_script('return getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    assert page.execute_script('return getComputedStyle(document.body).color') == 'rgb(27, 27, 29)'
    assert page.execute_script(
        'return [...document.querySelectorAll("td, th")].every(cell => cell.scrollWidth <= cell.clientWidth)')


def test_it_is_all_there_without_javascript(page, address):
    page.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', dict(value=True))
    try:
        page.get(address)
        page.execute_cdp_cmd('DOM.enable', {})
        root = page.execute_cdp_cmd('DOM.getDocument', {})['root']['nodeId']
        count = {name: len(page.execute_cdp_cmd('DOM.querySelectorAll', dict(nodeId=root, selector=name))['nodeIds'])
                 for name in ('script', 'link', 'table', 'figure')}
        if 'NEPA_PAGE' not in os.environ:
            assert count == dict(script=0, link=0, table=2, figure=12)
        metrics = page.execute_cdp_cmd('Page.getLayoutMetrics', {})
        size = metrics.get('cssContentSize') or metrics['contentSize']
        shot = page.execute_cdp_cmd('Page.captureScreenshot', dict(captureBeyondViewport=True, clip=dict(size, scale=1)))['data']
    finally:
        page.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', dict(value=False))
    if 'NEPA_SCREENSHOT' in os.environ:
        Path(os.environ['NEPA_SCREENSHOT'], f'report_{size["width"]}.png').write_bytes(base64.b64decode(shot))
