"""Deprecated calls of this package end a test (pyproject.toml); those of other packages do not."""
import warnings

import pytest


def deprecated(category: type[Warning]) -> None:
    warnings.warn('use another', category, stacklevel=2)


@pytest.mark.parametrize('category', [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
@pytest.mark.parametrize('caller, ours', [
    ('nepa_mm.models.nepa_vit', True), ('__main__', True), ('<run_path>', True), ('torchvision.io.image', True),
    ('mmengine.runner', False), ('torch._jit', False), ('my.nepa_mm', False)])
def test_own_calls_are_errors(caller, ours, category):
    call = compile('deprecated(category)', f'{caller}.py', 'exec')
    names = dict(__name__=caller, deprecated=deprecated, category=category)
    if not ours:
        exec(call, names)
        return
    with pytest.raises(category, match='use another'):
        exec(call, names)


def test_other_warnings_of_ours_are_none():
    exec('import warnings; warnings.warn("look at this")', dict(__name__='nepa_mm.models'))
