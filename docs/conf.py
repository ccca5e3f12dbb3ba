"""Sphinx over the repository as it lies: README, docs/ and the model zoo's pages keep their places, so links work here as there.

    make docs   # site/index.html
"""
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The sidebar. Pages of docs/ by name, others by path; README, which is the front page, stays free of Sphinx's directives.
PAGES = {
    'Start': ['install', 'quick_start', 'your_data', 'tools', 'faq'],
    'Train': ['training', 'recipes', 'tables', 'dense_prediction', 'mixing', 'checkpoints', 'reliability', 'watching'],
    'Look and use': ['visualization', 'inference', 'export', 'host_tools'],
    'Speed and scale': ['performance', 'large_scale'],
    'What was run': ['evidence', 'runs', 'ablations', 'beyond', '../findings/README'],
    'Model zoo': ['../configs/pretrain/README', '../configs/classification/README', '../configs/segmentation/README',
                  '../configs/detection/README', '../configs/ablation/README', '../configs/evidence/README'],
    'Reference': ['api', '../CHANGELOG', '../CONTRIBUTING'],
}

project = 'nepa_mm'
author = 'the nepa_mm contributors'
release = version = installed('nepa_mm')
root_doc = 'README'
include_patterns = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'docs/*.md', 'configs/*/README.md',
                    'findings/README.md']

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
highlight_language = 'none'  # of blocks that name none: output of commands
myst_heading_anchors = 3  # links to headings, as GitHub makes them
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False

html_theme = 'furo'
html_title = f'nepa_mm {version}'
html_show_sphinx = False
pygments_style, pygments_dark_style = 'friendly', 'monokai'


def add_sidebar(app, docname, source):
    """Put the table of contents behind the front page; pages that are not written yet are left out."""
    if docname != root_doc:
        return
    for caption, pages in PAGES.items():
        paths = [page.removeprefix('../') if page.startswith('../') else f'docs/{page}' for page in pages]
        there = '\n'.join(path for path in paths if (ROOT / f'{path}.md').is_file())
        source[0] += f'\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{there}\n```\n'


def add_index(app, error):
    """Let the site open at the front page."""
    if error is None and app.builder.format == 'html':
        refresh = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        (Path(app.outdir) / 'index.html').write_text(f'<!doctype html><title>{project}</title>{refresh}\n')


def setup(app):
    app.connect('source-read', add_sidebar)
    app.connect('build-finished', add_index)
