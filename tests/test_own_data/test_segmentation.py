"""Labels of many values, written by a rule."""
import pytest

from nepa_mm.own_data.config_files import code
from nepa_mm.own_data.segmentation import values_code


@pytest.mark.parametrize('values, short', [
    ({255: 1}, '{255: 1}'),
    ({0: 255, **{value: value - 1 for value in range(1, 151)}}, '{0: 255, **{value: value - 1 for value in range(1, 151)}}'),
    ({1000 * value: value for value in range(1, 31)}, '{**dict(zip(['),
])
def test_values(values, short):
    written = code(values_code(values))
    assert written.startswith(short) and eval(written) == values
