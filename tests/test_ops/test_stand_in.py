"""When and where the operators stand in; each in a process of its own, for what is imported stays."""
from importlib.util import find_spec

import pytest
from forks import run, start

from nepa_mm.ops import OPERATORS

stands_in = pytest.mark.skipif(not find_spec('mmcv._ext').origin.endswith('extension.py'), reason='this mmcv has operators')
REGISTERED = """
from mmengine.registry import MODELS
import mmcv.cnn
import mmcv.ops
names = ['MultiScaleDeformableAttention', 'DCN', 'DCNv2']
assert all(MODELS.get(name).__module__.startswith('mmcv.ops.') for name in names)
"""


@stands_in
def test_without_it_mmcv_has_none_and_with_it_all_are_its_own_and_one_line_says_which(tmp_path):
    code, printed = start(tmp_path, '-c', REGISTERED, imported='hosts')
    assert code and "No module named 'mmcv._ext'" in printed
    code = f'import nepa_mm.ops{REGISTERED}'
    assert 'stands in' not in run(tmp_path, '-c', code, imported='hosts')
    log = 'from mmengine.logging import MMLogger\nMMLogger.get_instance("run")\n'
    printed = run(tmp_path, '-c', f'{log}{code}', imported='hosts')
    line, = (line for line in printed.splitlines() if 'nepa_mm.ops stands in' in line)
    assert line.endswith(', '.join(OPERATORS))


def test_classes_are_registered_also_where_mmcv_was_imported_before(tmp_path):
    code = f'import mmcv.cnn.bricks.transformer, nepa_mm.ops{REGISTERED.replace("import mmcv.ops", "")}'
    run(tmp_path, '-c', f'{code}mmcv.cnn.bricks.transformer.MultiScaleDeformableAttention', imported='hosts')


@stands_in
def test_compiled_operators_are_never_replaced(tmp_path):
    (tmp_path / '_ext.py').write_text('def __getattr__(name):\n    return lambda *_, **__: f"compiled {name}"\n')
    compiled = f'import mmcv; mmcv.__path__.append({str(tmp_path)!r})\n'
    for order in (f'import nepa_mm.ops\n{compiled}', f'{compiled}import nepa_mm.ops\n'):
        printed = run(tmp_path, '-c', f'{order}from mmcv.ops.nms import ext_module; print(ext_module.nms())', imported='hosts')
        assert 'compiled nms' in printed and 'stands in' not in printed


def test_it_is_refused_after_models_that_keep_what_they_found(tmp_path):
    late = "import sys; sys.modules['mmseg.models'] = sys\nimport nepa_mm.ops"
    code, printed = start(tmp_path, '-c', late, imported='hosts')
    assert code and 'mmseg.models was imported before, and goes on without operators | nepa_mm.ops | import nepa_mm.o' in printed
