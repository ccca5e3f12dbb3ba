"""What a training logged, read back by the tools that run several."""
import pytest

from nepa_mm.errors import DataError
from nepa_mm.launch.training_process import logged


def test_records_of_all_starts_and_none_of_a_line_that_a_kill_cut_short(tmp_path):
    texts = {'20260101_000000': '{"loss": 2.0, "step": 1}\n{"loss": 1.9, "st', '20260102_000000': '{"loss": 1.8, "step": 2}\n'}
    for start, text in texts.items():
        (tmp_path / start / 'vis_data').mkdir(parents=True)
        (tmp_path / start / 'vis_data/scalars.json').write_text(text)
    assert logged(tmp_path) == [dict(loss=2., step=1), dict(loss=1.8, step=2)]
    (tmp_path / '20260101_000000/vis_data/scalars.json').write_text('no record\n{"loss": 1.9, "step": 2}\n')
    with pytest.raises(DataError, match=r"no record of a log: 'no record' \| .*scalars\.json, line 1 \| mend or remove it"):
        logged(tmp_path)
