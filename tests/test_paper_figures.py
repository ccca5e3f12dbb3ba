"""Every number of the paper, in headers, metafiles and pages, is that of nepa_mm/analysis/runs/paper_figures.py."""
import re
import runpy
from itertools import chain
from pathlib import Path

import yaml

from nepa_mm.analysis.runs.paper_figures import FAILS, PAPER, RELEASE, figure
from tiny import ROOT

PAGES = [ROOT / 'README.md', *ROOT.glob('docs/*.md'), *ROOT.glob('configs/*/README.md')]
HEADERS = {path.stem: path.read_text().split('_base_ =')[0] for path in ROOT.glob('configs/[!_]*/*.py')}
METRICS = {model['Name']: {name: value for result in model['Results'] or [] for name, value in result['Metrics'].items()}
           for path in ROOT.glob('configs/*/metafile.yml') for model in yaml.safe_load(path.read_text())['Models']}
RELEASED = {f'{value:.2f}' for value in RELEASE.values()}
VALUES = RELEASED | {figure(table, row) for table in PAPER for row in PAPER[table]} - {FAILS}
SHORT = {  # of docs/tables.md
    'P': 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k', 'F': 'nepa_vit-base-p14_8xb128-coslr-100e_in1k',
    'LP': 'nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k', 'LF': 'nepa_vit-large-p14_8xb128-coslr-50e_in1k'}


def stems(cell: str) -> list[str]:
    """Of the configs that a cell of docs/tables.md names."""
    found = []
    for name in re.findall(r'`([^`\n]+\.py)`', cell):
        choices = re.search(r'\{(.*)\}', name)
        for choice in choices[1].split(',') if choices else ['']:
            stem = Path(name.replace(choices[0], choice) if choices else name).stem
            short, rest = re.fullmatch(r'((?:L?[PF](?![a-z\d]))?)(.*)', stem).groups()
            found.append(SHORT.get(short, '') + rest)
    return found


CELLS = [[cell.strip() for cell in line.strip('|').split('|')] for line in (ROOT / 'docs/tables.md').read_text().splitlines()
         if line.startswith('|')]
ROWS = [(table, row, stems(' '.join(cells)), [cell for cell in cells[1:] if '`' not in cell])
        for table, row, *cells in CELLS if table in PAPER]


def test_the_tables_have_every_row_of_the_paper_and_every_config_of_its_size():
    expected = {(table, row): [str(cell) for cell in (value if isinstance(value, tuple) else (value, ))]
                for table, rows in PAPER.items() for row, value in rows.items()}
    assert {(table, row): cells for table, row, _, cells in ROWS} == expected and len(ROWS) == len(expected)
    assert {cells[-1] for cells in CELLS if cells[0] == 'release'} == RELEASED
    listed = set(chain.from_iterable(stems(' '.join(cells)) for cells in CELLS))
    assert listed == {stem for stem in HEADERS if re.search('_[48]xb', stem)}


def said(header: str) -> list[str]:
    """What a header calls the paper's or the release's accuracies: numbers, or 'fails'."""
    clause = re.search(r'(?:Top-1|mIoU, (?:single|multi)).*?ours not run', header, re.DOTALL)
    return re.findall(r'(?<![\d.])\d\d\.\d\d?(?![\d.])|fails', clause[0]) if clause else []


def test_headers_and_metafiles_have_the_figure_of_their_row():
    for table, row, configs, cells in ROWS:
        value = cells[-1]
        assert any(value in said(HEADERS[config]) for config in configs), (table, row)
        if value != FAILS:
            assert any(float(value) in METRICS[config].values() for config in configs), (table, row)


def test_no_header_or_metafile_has_another_figure():
    for config, header in HEADERS.items():
        of_its_rows = {cells[-1] for _, _, configs, cells in ROWS if config in configs}
        numbers = said(header)
        assert set(numbers) <= VALUES | {FAILS}, config
        for metric, value in METRICS[config].items():
            if metric.endswith('(release)'):
                assert value == RELEASE['L' if 'large' in config else 'B'] and f'{value:.2f}' in numbers, config
            elif metric.endswith('(paper)'):
                assert str(value) in of_its_rows and str(value) in numbers, config
        # A pretraining's header has what fine-tuning's has.
        for other, source, value in re.findall(r'\(classification/([\w.-]+)\.py\): (paper|release) (\d\d\.\d+)', header):
            assert (f'Top 1 Accuracy ({source})', float(value)) in METRICS[other].items(), config


def test_no_page_has_another_figure():
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r'[Pp]aper(?: has|: |,| |\'s )+(\d\d\.\d\d?)(?![\d.])', text)) <= VALUES, page
        assert not re.search(r'not at hand|\| in the paper|\| worse \|', text), page


def test_the_readme_s_recipes_have_the_figures_of_their_rows():
    page = (ROOT / 'README.md').read_text()
    for variant, bidirectional in (('-paper-causal', 'causal'), ('-paper', 'bidirectional')):
        base, large = (figure('2', f'NEPA, {bidirectional}, {size}') for size in 'BL')
        assert re.search(rf'`classification/…{variant}\.py` \|[^|]*\| {base} / {large} top-1 \|', page)
    assert f'{figure("3", "NEPA, B")} / {figure("3", "NEPA, L")} mIoU' in page


def test_the_evidence_is_made_of_its_records_and_the_paper_s_figures():
    tool = runpy.run_path(str(ROOT / 'tools/analysis_tools/run_evidence.py'))
    page = ''.join((ROOT / f'docs/{name}.md').read_text() for name in ('evidence', 'beyond'))
    for name, experiment in tool['EXPERIMENTS'].items():
        path = ROOT / f'docs/evidence/{name}.jsonl'
        if not path.exists():  # not run yet, and its place is empty
            assert f'<!-- results of {name} -->\n<!-- end of results -->' in page, name
            continue
        records = list(tool['results'].records_in(path).values())
        assert tool['results'].table_of(experiment(), records, tool['COMPARED'].get(name, 'paper')) in page, name


def test_the_ablations_have_the_figures_of_table_1():
    rows = {'NEPA, the paper\'s recipe': 'all three', '40 % of the input masked': '40 % masked',
            '60 % of the input masked': '60 % masked', 'patch embedding frozen, bidirectional': 'bidirectional',
            'patch embedding trained': 'embedding trained'}
    lines = re.findall(r'\| (1[a-e]) \| ([^|]+) \|.*\| ([^|]+) \|\n', (ROOT / 'docs/ablations.md').read_text())
    assert len(lines) == 13
    for table, row, value in lines:
        assert value.startswith(figure(table, rows.get(row, row))), row
