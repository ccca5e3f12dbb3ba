"""Make a folder for the ``projects/`` of mmpretrain or mmsegmentation, from this package: README, configs, model index.

    python tools/misc/make_project.py mmpretrain nepa

The folder holds no code: its configs are whole recipes of the models with published numbers, and name classes of the package,
which ``requirements.txt`` asks for. Make it anew for a new version.
"""
import argparse
import re
from pathlib import Path

from nepa_mm.errors import run_command
from nepa_mm.new_files import new_file, require_new
from nepa_mm.version import __version__

GROUPS = dict(mmpretrain=['pretrain', 'classification'], mmsegmentation=['segmentation'])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('host', choices=GROUPS, help='whose projects/ it is for')
    parser.add_argument('folder', type=Path, help='to write: a new one, or an empty one')
    parser.add_argument('--source', default=f'nepa_mm=={__version__}',
                        help='what pip installs the package from; default: %(default)s, once that is published')
    args = parser.parse_args()
    require_new(folder=args.folder)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import yaml
from mmengine.config import Config

from nepa_mm.own_data.config_files import code, text_of

ROOT = Path(__file__).resolve().parents[2]
README = """# NEPA: Next-Embedding Predictive Autoregression

> [Next-Embedding Prediction Makes Strong Vision Learners](https://arxiv.org/abs/2512.16922)

## Description

A vision transformer reads the patches of an image in order and predicts, from the embeddings so far, the next one.
The loss is the cosine distance to it.

The code is the package `nepa_mm` {version}. It registers its classes in child registries of MMEngine, and a config names
them with the prefix `nepa_mm.`, so nothing has to be on `PYTHONPATH` and no `custom_imports` are needed.

## Usage

### Installation

Install [MIM](https://github.com/open-mmlab/mim) and {host}, then in this folder:

```shell
pip install -r requirements.txt
python -m nepa_mm.doctor  # what is there, and what works
```

### Data

{data}

### Training

```shell
mim train {host} configs/{first}.py --launcher pytorch --gpus 8
```

### Testing

```shell
mim test {host} configs/{last}.py --checkpoint CHECKPOINT --launcher pytorch --gpus 8
```

The authors' weights load by their address, `hf:SixAILab/nepa-base-patch14-224`, wherever a config takes a path.

## Results

Published numbers are the paper's or its authors' release's. Which of them were reached with this code is under *ours*.

{table}

## Citation

```bibtex
@article{{xu2025nepa,
  title={{Next-Embedding Prediction Makes Strong Vision Learners}},
  author={{Xu, Sihan and Ma, Ziqiao and Chai, Wenhao and Chen, Xuweiyi and Jin, Weiyang and Chai, Joyce and Xie, Saining
          and Yu, Stella X.}},
  journal={{arXiv preprint arXiv:2512.16922}},
  year={{2025}}
}}
```

## Checklist

- [x] Milestone 1: ready for a pull request into `projects/`
  - [x] Code: registered, configurable, installed from a package
  - [x] Docstrings, with their sources
  - [x] The authors' weights load, with outputs and losses within 1e-5 of theirs
  - [x] This README
- [ ] Milestone 2: the published results
  - [ ] Trained from scratch to the paper's numbers
- [ ] Milestone 3: ready for the core package
  - [x] Type hints and docstrings
  - [x] Unit tests
  - [x] `metafile.yml`
  - [ ] Code moved into the folders of {host}
"""
DATA = dict(
    mmpretrain='ImageNet-1k in `data/imagenet`, with a folder for each class in `train/` and `val/`.',
    mmsegmentation='ADE20K in `data/ade/ADEChallengeData2016`, as MMSegmentation prepares it.')


def main(args: argparse.Namespace) -> None:
    groups = GROUPS[args.host]
    by_group = [[model['Name'] for model in chosen(group)] for group in groups]
    index = index_of(groups)
    files = {f'configs/{name}.py': recipe(ROOT / f'configs/{group}/{name}.py', args.host)
             for group, names in zip(groups, by_group) for name in names}
    files['metafile.yml'] = yaml.safe_dump(index, sort_keys=False, width=1000)
    files['requirements.txt'] = f'{args.source}\n'
    first, last = (min(names, key=len) for names in (by_group[0], by_group[-1]))  # without what is changed
    files['README.md'] = README.format(host=args.host, version=__version__, data=DATA[args.host], first=first, last=last,
                                       table=table(groups, sum(by_group, [])))
    for name, text in files.items():
        (args.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with new_file(args.folder / name) as file:
            file.write_text(text)
    print(f'{args.folder}: {len(index["Models"])} configs, README.md, metafile.yml, requirements.txt')


def zoo(group: str) -> dict:
    """The metafile of a folder of configs."""
    return yaml.safe_load((ROOT / f'configs/{group}/metafile.yml').read_text())


def chosen(group: str) -> list[dict]:
    """NEPA's models of a folder of configs with published numbers; those of pretraining that such a one starts from."""
    entries = [model for model in zoo(group)['Models']
               if model['Name'].startswith('nepa_vit') and '3rdparty' not in model['Name']]
    if group == 'pretrain':
        followed = {model['Name'] for model in chosen('classification')}
        return [model for model in entries if followed & set(model.get('Downstream') or ())]
    return [model for model in entries if re.search(r'\((paper|release)\)', str(model.get('Results')))]


def index_of(groups: list[str]) -> dict:
    """The metafile of the folder."""
    models = [{**model, 'Config': f'configs/{model["Name"]}.py'} for group in groups for model in chosen(group)]
    used = {model['In Collection'] for model in models}
    collections = [{**collection, 'README': 'README.md'} for group in groups for collection in zoo(group)['Collections']
                   if collection['Name'] in used]
    return dict(Collections=collections, Models=models)


def recipe(path: Path, host: str) -> str:
    """A config with all that it inherits, under its own words about hardware and numbers and the host's command."""
    words = [line for line in path.read_text().partition('_base_')[0].splitlines() if re.match(r'# \S', line)]
    command = f'#   mim train {host} configs/{path.name} --launcher pytorch --gpus 8'
    settings = Config.fromfile(path).to_dict()
    return '\n'.join([words[0], '#', command, '#', *words[1:], '']) + text_of([
        f'{name} = {code(value)}' for name, value in settings.items()])


def table(groups: list[str], names: list[str]) -> str:
    """Rows of the model zoo's tables, with links into this folder; other links are left out."""
    rows = [line for group in groups for line in (ROOT / f'configs/{group}/README.md').read_text().splitlines()
            if line.startswith('| ')]
    head, kept = rows[:2], [row for row in rows if (found := re.match(r'\| \[([^]]+)\]', row)) and found[1] in names]
    kept = [re.sub(r'\[([^]]*)\]\(\.\./[^)]*\)', r'\1', row).replace('](nepa', '](configs/nepa') for row in kept]
    return '\n'.join(head + kept)


run_command(main, args)
