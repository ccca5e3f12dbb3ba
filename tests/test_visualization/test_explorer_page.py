"""The page in a real browser: clicks, keys, fingers, and the pixels that it shows.

NEPA_SCREENSHOT=docs/explorer.png NEPA_PAGE=page.html makes the last test take its picture of a page of yours.
"""
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nepa_mm import NEPA, NEPAViT
from nepa_mm.visualization import PatchMaps
from nepa_mm.visualization.explorer import Explorer
from nepa_mm.visualization.query_patches import ATTENTION, SIMILARITY
from nepa_mm.visualization.read_image import pixels_of
from tiny import TINY, randomize

pytest.importorskip('selenium.webdriver', reason='browser tests need selenium (pip install -e .[test])')
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

SIZE = (28, 28)
GREY = [(217, 216, 212), (42, 42, 46)]  # --unseen, by day and by night


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Images, two models, of 4 x 4 and of 2 x 2 patches, and pages of the first and of both."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('pages')
    images = [Image.fromarray(np.random.default_rng(i).integers(256, size=(28, 28, 3), dtype=np.uint8)) for i in range(2)]
    models = [NEPA(randomize(NEPAViT(**{**TINY, 'patch_size': side})), data_preprocessor=dict(
        mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)).eval() for side in (7, 14)]
    for name, chosen in (('one', models[:1]), ('two', models)):
        explorer = Explorer(images, ['first.png', 'second.png'])
        for number, model in enumerate(chosen):
            explorer.add(model, f'epoch_{number}.pth', SIZE)
        (folder / f'{name}.html').write_text(explorer.page(1e7))
    return folder, images, models


@pytest.fixture
def page(browser, made, request):
    """Open a page in a window, or on a phone: 'one' or 'two', 'phone', 'dark'."""
    def send(command, **arguments):
        browser.execute_cdp_cmd(command, arguments)

    def open_page(name='one', phone=False, dark=False):
        width, height = (390, 844) if phone else (1200, 900)
        send('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=phone)
        send('Emulation.setTouchEmulationEnabled', enabled=phone)
        send('Emulation.setEmulatedMedia', features=[dict(name='prefers-color-scheme', value='dark' if dark else 'light')])
        browser.get((made[0] / f'{name}.html').as_uri())
        return Page(browser)

    yield open_page
    complaints = [entry for entry in browser.get_log('browser') if entry['level'] in ('SEVERE', 'WARNING')]
    assert not complaints, complaints


class Page:
    """What a user does with the page, and what there is to see."""

    def __init__(self, browser):
        self.browser = browser
        self.wait()

    def wait(self, **expected):
        """Until the state is drawn, and is as expected."""
        def drawn(_):
            state = self.state()
            return state and all(state[name] == str(value) for name, value in expected.items())

        WebDriverWait(self.browser, 10, 0.02).until(drawn, f'{expected}, but {self.state()}')

    def state(self):
        text = self.browser.execute_script('return document.body.dataset.drawn')
        return text and dict(zip(('image', 'first', 'second', 'layer', 'head', 'token', 'over'), text.split()))

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def canvas(self, kind, column=0):
        return self.browser.find_elements(By.CSS_SELECTOR, f'figure.{kind} canvas')[column]

    def at(self, canvas, row, column, cells=4):
        """Middle of a patch, from the middle of its canvas."""
        return [round(side * ((place + 0.5) / cells - 0.5)) for side, place in (
            (canvas.size['width'], column), (canvas.size['height'], row))]

    def click(self, kind, row, column):
        canvas = self.canvas(kind)
        ActionChains(self.browser).move_to_element_with_offset(canvas, *self.at(canvas, row, column)).click().perform()
        self.away()

    def away(self):
        """Point at nothing that could be marked."""
        ActionChains(self.browser).move_to_element(self.find('h1')).perform()

    def tap(self, kind, row, column):
        canvas = self.canvas(kind)
        self.browser.execute_script('arguments[0].scrollIntoView({block: "center"})', canvas)
        area = self.browser.execute_script('const {x, y, width, height} = arguments[0].getBoundingClientRect();'
                                           'return [x, y, width, height]', canvas)
        point = dict(x=area[0] + area[2] * (column + 0.5) / 4, y=area[1] + area[3] * (row + 0.5) / 4)
        for kind, points in (('touchStart', [point]), ('touchEnd', [])):
            self.browser.execute_cdp_cmd('Input.dispatchTouchEvent', dict(type=kind, touchPoints=points))

    def press(self, *keys, element=None):
        (element or self.find('body')).send_keys(*keys)

    def colours(self, kind, column=0, cells=4):
        """Colours [cells * cells, 3] a little off the middle of each patch, as the screen shows them."""
        canvas = self.canvas(kind, column)
        self.browser.execute_script('arguments[0].scrollIntoView({block: "center"})', canvas)
        shown = np.asarray(Image.open(io.BytesIO(canvas.screenshot_as_png)).convert('RGB'))
        height, width = (side / cells for side in shown.shape[:2])
        return np.array([shown[int((row + 0.4) * height), int((column + 0.4) * width)]
                         for row in range(cells) for column in range(cells)])


def assert_attention(page, maps, token, layer, head=None, column=0, dark=False):
    """The attention on the screen is that of the model, and what is not seen yet is grey."""
    weights = maps.attention(layer, [token])[0, :, 0, 1:]
    weights = (weights.mean(0) if head is None else weights[head]).numpy()
    cells, patch = maps.grid[0], token - 1
    shown = page.colours('attention', column, cells)
    if patch >= 0:
        index = ((weights / weights.max() * 63).round() / 63 * 255).round().astype(int)
        np.testing.assert_allclose(shown[:patch + 1], ATTENTION(index, bytes=True)[:patch + 1, :3], atol=3)
    np.testing.assert_allclose(shown[patch + 1:], np.broadcast_to(GREY[dark], shown[patch + 1:].shape), atol=2)


def assert_similarity(page, maps, token, column=0):
    cosine = maps.similarity([token])[0, 0].numpy()
    index = (((cosine * 127).round() / 127 + 1) / 2 * 255).round().astype(int)
    np.testing.assert_allclose(page.colours('similarity', column, maps.grid[0]), SIMILARITY(index, bytes=True)[:, :3], atol=3)


@pytest.fixture(scope='module')
def maps(made):
    """Maps of the models and images."""
    _, images, models = made
    return [[PatchMaps(model, pixels_of([image], SIZE)) for image in images] for model in models]


def test_a_click_shows_the_maps_of_the_model(page, maps):
    shown = page()
    for kind, row, column in (('picture', 1, 2), ('attention', 3, 3), ('similarity', 0, 1)):
        shown.click(kind, row, column)
        token = 1 + 4 * row + column
        shown.wait(token=token, layer=2, head='mean')
        assert_attention(shown, maps[0][0], token, 2)
        assert_similarity(shown, maps[0][0], token)
    assert shown.find('#place').text == 'Seen 2 of 16, predicts row 0, column 2'
    said = shown.find('.similarity .says').text
    assert said.startswith(f'Next patch: {maps[0][0].similarity([2])[0, 0, 2]:.2f}. Most: row ')


def test_the_picture_is_pale_where_it_is_not_seen_yet(page, made):
    shown = page()
    shown.click('picture', 1, 3)
    shown.wait(token=8)
    ground, picture = np.array([250, 249, 247]), shown.colours('picture').astype(int)
    shown.press(Keys.END)
    shown.wait(token=16)
    whole = shown.colours('picture').astype(int)
    np.testing.assert_allclose(picture[:8], whole[:8], atol=2)
    np.testing.assert_allclose(picture[8:], 0.28 * whole[8:] + 0.72 * ground, atol=4)


def test_keys(page, maps):
    shown = page()
    shown.click('picture', 1, 1)
    for keys, expected in [
            (Keys.ARROW_RIGHT, dict(token=7)), (Keys.ARROW_DOWN, dict(token=11)), (Keys.ARROW_LEFT, dict(token=10)),
            (Keys.ARROW_LEFT, dict(token=9)), (Keys.ARROW_LEFT, dict(token=9)),  # the border
            (Keys.ARROW_UP, dict(token=5)), (',', dict(token=4)), ('.', dict(token=5)), (Keys.END, dict(token=16)),
            (Keys.ARROW_DOWN, dict(token=16)), (Keys.HOME, dict(token=1)), (',', dict(token=0)), ('.', dict(token=1)),
            ('l', dict(layer=0)), ('h', dict(head='0')), ('h', dict(head='1')), ('h', dict(head='mean')), ('H', dict(head='1')),
            ('L', dict(layer=2)), ('i', dict(image=1)), ('I', dict(image=0)), ('o', dict(over='true')),
            ('o', dict(over='false'))]:
        shown.press(keys)
        shown.wait(**expected)
    shown.press(Keys.END)
    shown.wait(token=16, layer=2, head=1)
    assert_attention(shown, maps[0][0], 16, 2, head=1)


def test_before_any_patch_the_first_is_predicted(page, maps):
    shown = page()
    shown.press(Keys.HOME, ',')
    shown.wait(token=0)
    assert shown.find('#place').text == 'No patch seen, predicts row 0, column 0'
    assert shown.find('.attention .says').text == '[CLS]: 100 %'
    assert_attention(shown, maps[0][0], 0, 2)
    assert_similarity(shown, maps[0][0], 0)


def test_layers_heads_and_images_by_clicks(page, maps):
    shown = page()
    shown.click('picture', 2, 2)
    for layer, head in ((0, None), (1, 1), (2, 0)):
        shown.find(f'#layers input[value="{layer}"]').click()
        shown.find(f'#heads input[value="{"mean" if head is None else head}"]').click()
        shown.wait(layer=layer, head='mean' if head is None else head)
        assert_attention(shown, maps[0][0], 11, layer, head)
        assert f'layer {layer}, {"mean of heads" if head is None else f"head {head}"}' == shown.find(
            '.attention figcaption span').text
    shown.browser.find_elements(By.CSS_SELECTOR, '#images button')[1].click()
    shown.wait(image=1)
    assert_attention(shown, maps[0][1], 11, 2, 0)
    assert_similarity(shown, maps[0][1], 11)
    # Arrows of a button, which has no use for them, move the query; those of chips move between these
    shown.press(Keys.ARROW_LEFT, element=shown.browser.switch_to.active_element)
    shown.wait(token=10)
    shown.press(Keys.ARROW_RIGHT, element=shown.find('#over'))
    shown.wait(token=11, over='false')
    shown.press(Keys.ARROW_RIGHT, element=shown.find('#heads input:checked'))
    shown.wait(head=1, token=11)


def test_pointing_reads_a_value(page, maps):
    shown = page()
    shown.click('picture', 3, 3)
    canvas = shown.canvas('attention')
    ActionChains(shown.browser).move_to_element_with_offset(canvas, *shown.at(canvas, 0, 2)).perform()
    share = maps[0][0].attention(2, [16])[0, :, 0, 3].mean().item()
    WebDriverWait(shown.browser, 5).until(lambda _: shown.find('.attention .says').text.startswith('row 0, column 2: '))
    assert float(shown.find('.attention .says').text.split(': ')[1].rstrip(' %')) == pytest.approx(100 * share, abs=0.6)
    shown.away()
    WebDriverWait(shown.browser, 5).until(lambda _: shown.find('.attention .says').text.startswith('Most: '))


def test_the_order_is_played_and_stepped(page):
    shown = page()
    shown.press(Keys.HOME)
    shown.wait(token=1)
    shown.find('#forth').click()
    shown.wait(token=2)
    shown.find('#back').click()
    shown.wait(token=1)
    shown.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, element=shown.find('#step'))
    shown.wait(token=3)
    shown.find('#play').click()
    assert shown.find('#play').get_attribute('aria-label') == 'Stop'
    shown.wait(token=6)
    shown.wait(token=16)  # to the end
    WebDriverWait(shown.browser, 5).until(lambda _: shown.find('#play').get_attribute('aria-label') == 'Play')
    shown.find('h1').click()
    shown.press(' ')  # again from the start
    shown.wait(token=2)
    shown.press(' ')
    stopped = shown.state()['token']
    time.sleep(0.6)
    assert shown.state()['token'] == stopped != '16'


def test_two_checkpoints_side_by_side(page, maps):
    shown = page('two')
    shown.click('picture', 2, 1)  # of 4 x 4; row 1, column 0 of 2 x 2
    shown.wait(first=0, second=1, token=10)
    assert_attention(shown, maps[0][0], 10, 2)
    assert_attention(shown, maps[1][0], 3, 2, column=1)
    assert_similarity(shown, maps[1][0], 3, column=1)
    left, right = (shown.canvas('attention', column).rect for column in (0, 1))
    assert left['y'] == right['y'] and left['x'] + left['width'] < right['x']
    Select(shown.find('#second')).select_by_visible_text('none')
    shown.wait(second=-1)
    assert len(shown.browser.find_elements(By.CSS_SELECTOR, 'figure')) == 3
    Select(shown.find('#first')).select_by_visible_text('epoch_1.pth')
    shown.wait(first=1, token=3)
    assert_attention(shown, maps[1][0], 3, 2)


@pytest.mark.parametrize('name', ['one', 'two'])
def test_a_finger_on_a_phone(name, page, maps):
    shown = page(name, phone=True, dark=True)
    assert shown.browser.execute_script('return document.documentElement.scrollWidth') == 390
    shown.tap('picture', 2, 3)
    shown.wait(token=12)
    shown.tap('attention', 1, 1)
    shown.wait(token=6)
    assert_attention(shown, maps[0][0], 6, 2, dark=True)
    screen = np.asarray(Image.open(io.BytesIO(shown.browser.get_screenshot_as_png())).convert('RGB'))
    assert screen[5, 5].tolist() == [20, 20, 22]
    sizes = shown.browser.execute_script('return [...document.querySelectorAll("#order button, .chips span")].map('
                                         'element => element.getBoundingClientRect().height)')
    assert min(sizes) >= 32  # for a finger


def test_labels_for_those_who_do_not_see(page):
    shown = page()
    shown.click('picture', 0, 0)
    shown.wait(token=1)
    picture = shown.canvas('picture')
    assert picture.get_attribute('role') == 'slider' and picture.get_attribute('aria-label') == 'Query patch'
    assert picture.get_attribute('aria-valuetext') == 'Seen 1 of 16, predicts row 0, column 1'
    assert shown.canvas('attention').get_attribute('aria-label').startswith('attention, layer 2, mean of heads. Most: row 0')
    unnamed = shown.browser.execute_script('''
        return [...document.querySelectorAll('button, input, select, canvas, img')].filter(element => !(
          element.getAttribute('aria-label') || element.alt || element.title || element.textContent.trim() ||
          (element.labels && element.labels.length))).map(element => element.outerHTML)''')
    assert not unnamed
    WebDriverWait(shown.browser, 5).until(lambda _: 'Next patch: ' in shown.find('#spoken').get_attribute('textContent'))
    # All is reached by Tab, the picture too
    reached = set()
    for _ in range(12):
        shown.browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(shown.browser.execute_script('const {id, tagName} = document.activeElement; return id || tagName'))
    assert {'CANVAS', 'step', 'play', 'over'} <= reached


def test_maps_over_the_picture(page, made):
    shown = page()
    shown.click('picture', 3, 3)
    alone = shown.colours('attention').astype(int)
    shown.find('#over').click()
    shown.wait(over='true')
    over = shown.colours('attention').astype(int)
    rest = (over - 0.6 * alone) / 0.4  # the picture in grey, and so red, green and blue alike
    np.testing.assert_allclose(rest[:, 0], rest[:, 1], atol=6)
    np.testing.assert_allclose(rest[:, 1], rest[:, 2], atol=6)
    assert rest.std() > 5


def test_nothing_is_asked_of_a_network(page):
    shown = page('two')
    asked = shown.browser.execute_script('return performance.getEntriesByType("resource").map(entry => entry.name)')
    assert [name for name in asked if not name.startswith('data:')] == []


def test_a_picture_of_the_page(page, made, tmp_path):
    shown = page('two')
    if 'NEPA_PAGE' in os.environ:
        shown.browser.get(Path(os.environ['NEPA_PAGE']).resolve().as_uri())
        shown.wait()
    out = Path(os.environ.get('NEPA_SCREENSHOT', tmp_path / 'page.png'))
    assert shown.browser.save_screenshot(str(out))
    screen = np.asarray(Image.open(out).convert('RGB'))
    assert screen.shape == (900, 1200, 3) and len(np.unique(screen.reshape(-1, 3), axis=0)) > 100
