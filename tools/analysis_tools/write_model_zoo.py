"""Fill in what is counted in the model zoo: numbers of each configs/*/metafile.yml, and the tables of the READMEs beside them.

    python tools/analysis_tools/write_model_zoo.py

Names, results, weights and links in a metafile are written by hand; so is a README outside its table.
"""
import argparse
import json
import re
from pathlib import Path

if __name__ == '__main__':  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()

import yaml
from mmengine.config import Config

from nepa_mm.analysis.cost.training_step import inference_cost, without_checkpoints

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.compile(r'(?<=<!-- models -->\n).*?(?=<!-- end of models -->)', re.DOTALL)
HEADER = '| model | parameters, M | multiply-adds, G | published | ours | weights |\n| --- | ---: | ---: | --- | --- | --- |'


def counted(cfg: Config, known: dict) -> dict:
    """``Metadata`` of a config's model: length, batch, multiply-adds and parameters. ``known`` keeps equal models' costs."""
    loop, facts = cfg.train_cfg, {}
    if 'max_epochs' in loop:
        facts['Epochs'] = loop.max_epochs
    else:
        facts['Iterations'] = loop.max_iters
    facts['Batch Size'] = (cfg.get('auto_scale_lr') or {}).get('base_batch_size', cfg.train_dataloader.batch_size)
    if takes_image(cfg):
        model = without_checkpoints(cfg).model  # which change no shape
        key = json.dumps({name: part for name, part in model.items() if name not in ('train_cfg', 'test_cfg')}, default=str)
        if key not in known:
            known[key] = inference_cost(cfg)
        facts['FLOPs'], facts['Parameters'] = known[key]
    return facts


def takes_image(cfg: Config) -> bool:
    """Whether ``model(image)`` is all of the model's work, and can be counted.

    mmdet's models and heads and several heads want more for it; mmcv's deformable attention compares sizes that are in tensors.
    """
    head = cfg.model.get('decode_head') or {}
    uncounted = ('CascadeEncoderDecoder', 'nepa_mm.MultiHeadEncoderDecoder', 'nepa_mm.AdaptedEncoderDecoder')
    return cfg.default_scope != 'mmdet' and cfg.model.type not in uncounted and 'pixel_decoder' not in head


def row(model: dict) -> str:
    """A model's row of the table; published numbers say whose they are."""
    facts, numbers = model['Metadata'], {'published': [], 'ours': []}
    for result in model.get('Results') or []:
        for metric, value in (result['Metrics'] or {}).items():
            of_others = re.search(r'\((paper|release)\)', metric)
            name = metric.split(' (')[0]
            numbers['published' if of_others else 'ours'].append(
                f'{of_others[1]}: {value} {name}' if of_others else f'[{value} {name}](../../{model["Log"]})')
    cost = [f'{facts["Parameters"] / 1e6:.1f}', f'{facts["FLOPs"] / 1e9:.2f}'] if 'FLOPs' in facts else ['', '']
    # Whatever a run here has not shown is said to be so.
    cells = [f'[{model["Name"]}]({Path(model["Config"]).name})', *cost, ', '.join(numbers['published']),
             ', '.join(numbers['ours']) or 'not run', f'`{model["Weights"]}`' if model.get('Weights') else '']
    return f'| {" | ".join(cells)} |'


def table(models: list[dict]) -> str:
    return '\n'.join([HEADER, *map(row, models)]) + '\n'


def main() -> None:
    known = {}
    for path in sorted(ROOT.glob('configs/*/metafile.yml')):
        index = yaml.safe_load(path.read_text())
        for model in index['Models']:
            model['Metadata'] = {**model['Metadata'], **counted(Config.fromfile(ROOT / model['Config']), known)}
        path.write_text(yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=1000))
        readme = path.with_name('README.md')
        readme.write_text(TABLE.sub(table(index['Models']), readme.read_text()))
        print(f'{path.relative_to(ROOT)}: {len(index["Models"])} models')


if __name__ == '__main__':
    main()
