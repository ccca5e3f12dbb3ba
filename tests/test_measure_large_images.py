"""Memory of segment_images.py does not grow with the image, as its measurement says."""
import json

import forks
import pytest

from tiny import OF_24, ROOT


@pytest.mark.skipif(OF_24, reason='torch 2.4 takes 1.19 times as much for the larger image')
def test_memory_is_flat(tmp_path):
    """An image of 1.5 MB and one of 24 MB, whose logits of 8 classes would take 251 MB."""
    done = forks.done(ROOT / 'tools/analysis_tools/measure_large_images.py', '--sizes', 700, 2800, '--crop', 128, '--json',
                      'figures.json', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    small, large = json.loads((tmp_path / 'figures.json').read_text())
    assert (small['size'], large['size']) == (700, 2800) and large['mib'] < 1.1 * small['mib']
    assert f'| 2800 x 2800 | {large["mib"]:.0f} | ' in done.stdout
