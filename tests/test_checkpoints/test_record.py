"""The config text of a checkpoint is data: every text here that would run something if it were executed runs nothing."""
import json
import math
import os
import time

import forks
import numpy as np
import pytest
from mmengine.config import Config

from nepa_mm.checkpoints.record import (
    check_kind,
    config_from_text,
    config_text,
    facts_in,
    from_header,
    plain_config_text,
    record,
    to_header,
)
from nepa_mm.errors import CheckpointError
from nepa_mm.variants import variant_of
from nepa_mm.version import __version__
from tiny import ROOT

PLAIN = dict(
    default_scope='mmpretrain',
    model=dict(type='nepa_mm.NEPA', backbone=dict(arch=dict(embed_dims=16), rope=dict(theta=100., shift=None), out=(-1, ))),
    numbers=[0, -1, 1.5, -2e-12, 1e300, 10**30, True, False, None, 1j],
    texts=['', 'a\nb', "it's \"quoted\"", 'ümläut 猫', '\\', "__import__('os').system('true')"],
    nested=[[], {}, (), [[[()]]], {'a b': {1: (2, 3), None: [], (1, 2): b'bytes'}}],
    sets={1, 2})


def test_plain_data_comes_back_as_it_was():
    text = config_text(PLAIN)
    assert config_from_text(text) == PLAIN and plain_config_text(text) == text
    assert type(config_from_text(text)['model']['backbone']['out']) is tuple
    assert config_from_text('') == {} and config_text({}) == ''


def test_numbers_that_are_none_and_without_bounds_come_back():
    found = config_from_text(config_text(dict(a=math.inf, b=[-math.inf, -math.inf], c=dict(d=math.nan), e=-1)))
    assert found['a'] == math.inf and math.isnan(found['c']['d']) and found['e'] == -1
    assert found['b'] == [-math.inf, -math.inf]


def test_dicts_whose_keys_are_no_names_come_back_as_mmengine_writes_them():
    cfg = Config(dict(model=dict(steps=[dict(type='LoadSegAnnotations', values={11: 255, 0: 1})], names={'a b': dict(c=1)})))
    assert config_from_text(cfg.pretty_text) == cfg.to_dict()
    assert plain_config_text(cfg.pretty_text) == cfg.pretty_text


CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_text_that_mmengine_saves_of_our_configs_comes_back(path):
    """``meta['cfg']`` of a training is ``cfg.pretty_text``."""
    cfg = Config.fromfile(path)
    text = cfg.pretty_text
    found = config_from_text(text)
    assert found['model'] == cfg.model.to_dict() and found == cfg.to_dict()
    assert plain_config_text(text) == text


CODE = [  # each makes the file 'ran' if it is executed
    "open('ran', 'w')",
    "__import__('os').system('touch ran')",
    "import os; os.system('touch ran')",
    "from os import system as f; model = f('touch ran')",
    "model = open('ran', 'w')",
    "model = __import__('os').system('touch ran')",
    "model = dict(type=open('ran', 'w'))",
    "model = dict(a=dict(b=[(open('ran', 'w'), )]))",
    "model = {'a': open('ran', 'w')}",
    "model = {open('ran', 'w'): 1}",
    "model = {open('ran', 'w'), 2}",
    "model = f\"{open('ran', 'w')}\"",
    "model = dict(a=f\"{__import__('os').system('touch ran')!r:>{10}}\")",
    "model = [open('ran', 'w') for _ in range(1)]",
    "model = {1: open('ran', 'w') for _ in [1]}",
    "model = list(open('ran', 'w') for _ in [1])",
    "model = dict(**{'a': open('ran', 'w')})",
    "model = {**dict(a=open('ran', 'w'))}",
    "model = [*[open('ran', 'w')]]",
    "model = dict([('a', open('ran', 'w'))])",
    "model = dict({open('ran', 'w'): 1})",
    "model = dict({1: open('ran', 'w')})",
    "model = dict({1: 2}, **{'a': open('ran', 'w')})",
    "model = dict({1: 2}, a=open('ran', 'w'))",
    "model = (lambda: open('ran', 'w'))()",
    "model = (x := open('ran', 'w'))",
    "model = dict(a=(x := open('ran', 'w')))",
    "model = 1 if open('ran', 'w') else 2",
    "model = open('ran', 'w') and 1",
    "model = not open('ran', 'w')",
    "model = 'a%s' % open('ran', 'w')",
    "model = 1 + len(str(open('ran', 'w')))",
    "model = [1][bool(open('ran', 'w')) - 1]",
    "model = 'touch ran'.__class__(open('ran', 'w'))",
    "model = (1).__class__.__base__.__subclasses__() and open('ran', 'w')",
    "model: open('ran', 'w') = 1",
    "model = 1; model += bool(open('ran', 'w'))",
    "model = other = open('ran', 'w')",
    "model, other = 1, open('ran', 'w')",
    "model = {}; model[open('ran', 'w')] = 1",
    "model = type('A', (), {})(); model.a = open('ran', 'w')",
    "del [1][open('ran', 'w').close() or 0]",
    "for model in [open('ran', 'w')]: pass",
    "while open('ran', 'w'): break",
    "with open('ran', 'w') as model: pass",
    "if open('ran', 'w'): model = 1",
    "assert open('ran', 'w')",
    "try: model = open('ran', 'w')\nfinally: pass",
    "match open('ran', 'w'):\n    case model: pass",
    "def f(a=open('ran', 'w')): pass",
    "def f() -> open('ran', 'w'): pass",
    "@lambda f: open('ran', 'w')\ndef f(): pass",
    "@(lambda c: open('ran', 'w'))\nclass A: pass",
    "class A(metaclass=lambda *a, **k: open('ran', 'w')): pass",
    "class A:\n    model = open('ran', 'w')",
    "exec(\"open('ran', 'w')\")",
    "eval(compile(\"open('ran', 'w')\", 'a', 'eval'))",
    "dict = lambda **k: open('ran', 'w')\nmodel = dict(a=1)",
    "class nan: pass\nnan = open('ran', 'w')\nmodel = nan",
    "# -*- coding: utf-7 -*-\nmodel = open('ran', 'w')",
    "model = 1 ;\\\nopen('ran', 'w')",
]


@pytest.mark.parametrize('code', CODE)
def test_nothing_in_a_text_is_executed(code, tmp_path, monkeypatch):
    (tmp_path / 'executed').mkdir()
    monkeypatch.chdir(tmp_path / 'executed')
    exec(code, {})
    assert os.listdir() == ['ran'], 'a text that does nothing tests nothing'

    monkeypatch.chdir(tmp_path)
    for text in (code, f'before = 1\n{code}\nafter = dict(a=2)\n'):
        found, plain = config_from_text(text), plain_config_text(text)
        assert 'open' not in plain and 'system' not in plain and repr(config_from_text(plain)) == repr(found)
        assert repr(found.get('model')) in ('None', '1', 'nan', '{}', "{'a': 1}")
    assert (found['before'], found['after']) == (1, dict(a=2))
    assert os.listdir() == ['executed']


def test_what_is_no_data_is_left_out_and_the_rest_stays():
    text = 'a = 1\nb = f()\nc = dict(d=dict(e=x))\nf = dict(g=2)\nif True:\n    h = 3\ni = j = 4\nk: int = 5\n'
    assert config_from_text(text) == dict(a=1, f=dict(g=2))
    assert plain_config_text(text) == "a = 1\nf = {'g': 2}\n"
    assert config_from_text('a = 1\na = dict(b=2)\n') == dict(a=dict(b=2))


@pytest.mark.parametrize('text', ['model = {[]: 1}', 'model = {{}}', 'model = {{}: 1}', 'model = {[1]}', 'model = dict(1, a=2)',
                                  "model = -'a'", 'model = 1 + True', 'model = ...', 'model = "a" "b" f"c"', 'model = 2**9',
                                  'model = {**{}, "a": x}', 'model = set(1)', 'model = a.b', 'model = a[0]', 'model = *a,'])
def test_a_setting_that_has_no_value_is_left_out(text):
    assert config_from_text(f'a = 1\n{text}\n') in (dict(a=1), dict(a=1, model=...))


@pytest.mark.parametrize('text', ['model = (', 'model = ', '\0', 'model = 1\0', '\ud800', 'model = "\ud800"', 'if', '  a = 1',
                                  "'", 'model = ' + '1' * 5000, '{"model": 1', 'a = 1\n\tb = 2', '\\'])
def test_a_text_that_is_no_python_has_no_settings(text):
    assert config_from_text(text) in ({}, dict(model='\ud800'))
    assert plain_config_text(text) in ('', "model = '\\ud800'\n")


DEEP = {
    'round brackets': '(' * 10000,
    'round brackets, closed': '(' * 10000 + ')' * 10000,
    'square brackets, closed': '[' * 10000 + ']' * 10000,
    'curly brackets, closed': '{1:' * 10000 + '1' + '}' * 10000,
    'calls of dict, closed': 'dict(a=' * 10000 + '1' + ')' * 10000,
    'some calls of dict, closed': 'dict(a=' * 90 + '1' + ')' * 90,
    'signs': '-' * 100000 + '1',
    'negations': 'not ' * 50000 + '1',
    'sums': '1' + '+1' * 100000,
    'powers': '9' + '**9' * 10000,
    'attributes': 'a' + '.b' * 100000,
    'subscripts': 'a' + '[0]' * 50000,
    'calls': 'a' + '()' * 50000,
    'lambdas': 'lambda:' * 10000 + '1',
    'conditions': '1 if 1 else ' * 10000 + '1',
    'walruses': '(a:=' * 10000 + '1' + ')' * 10000,
    'comparisons': '1' + '<1' * 50000,
    'strings': "'a'" * 50000,
    'f-strings': 'f"{' * 200,
    'zeros': '0' * 1000000,
    'hexadecimal': '0x' + 'f' * 100000,
    'multiplied': '"a"' + '*999999' * 5,
}


@pytest.mark.parametrize('kind', DEEP)
def test_a_deep_text_neither_crashes_nor_hangs(kind):
    start = time.process_time()
    found = config_from_text(f'a = 1\nmodel = {DEEP[kind]}\n')
    plain_config_text(f'a = 1\nmodel = {DEEP[kind]}\n')
    assert time.process_time() - start < 60 and set(found) <= {'a', 'model'}


def test_deep_statements_neither_crash_nor_hang():
    start = time.process_time()
    for text in (''.join(' ' * i + 'if 1:\n' for i in range(1000)), 'if 1:\n    pass\n' + 'elif 1:\n    pass\n' * 5000,
                 'a = 1\n' * 50000, '\n' * 10**6, '#' * 10**6, 'a = b = ' * 5000 + '1'):
        assert config_from_text(text) in ({}, dict(a=1))
    assert time.process_time() - start < 60


def test_our_own_operators_alone_may_be_imported():
    text = "custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)\na = 1\n"
    assert plain_config_text(text) == text
    for other in (text.replace('nepa_mm.ops', 'evil'), text.replace("['nepa_mm.ops']", "['nepa_mm.ops', 'evil']")):
        assert 'imports' not in plain_config_text(other) and 'a = 1' in plain_config_text(other)


def test_a_text_of_data_is_safe_to_be_read_as_a_config_file(tmp_path):
    """As mmengine's inferencers do with what is left of it."""
    (tmp_path / 'evil.py').write_text("open('ran', 'w').close()\n")
    texts = [f"_base_ = ['{tmp_path}/evil.py']\n", f"_base_ = '{tmp_path}/evil.py'\n",
             "custom_imports = dict(imports=['evil'])\n",
             # mmengine replaces {{$NAME:DEFAULT}} and {{_base_.NAME}} in the text of a config, across the borders of strings
             # and in comments, where a default may be a pattern of its own
             "model = ['{{$NAME:a','}}open(\"ran\",\"w\").name,#'\n]\n",
             'model = 1  # {{$NAME:.|\\nopen("ran","w").close()#}}\n',
             "model = [1,  # {{$NAME:.|\\nopen('ran','w').close(),#}}\n]\n",
             'model = "\\{{_base_.a}}+open(\'ran\',\'w\').name#"\n']
    script = f'''
import json, os, sys
from mmengine.config import Config
sys.path.insert(0, '')
for text in {texts + [plain_config_text(text) for text in texts]!r}:
    try:
        Config.fromstring(text, '.py')
    except Exception as error:
        print(error, file=sys.stderr)
    print(os.path.exists('ran'))
    sys.modules.pop('evil', None)
    if os.path.exists('ran'):
        os.remove('ran')
'''
    done = forks.done('-c', script, folder=tmp_path)
    ran = done.stdout.split()
    assert ran[:len(texts)] == ['True'] * len(texts), ('texts that do nothing test nothing', done.stdout, done.stderr)
    assert ran[len(texts):] == ['False'] * len(texts), done.stdout + done.stderr


def test_record_and_facts():
    made = record('raw', variant='paper', source='a.pth')
    assert made == dict(version=__version__, variant='paper', weights='raw', source='a.pth')
    assert facts_in(dict(nepa_mm=made)) == made
    for meta in (None, 'text', [], {}, dict(nepa_mm=None), dict(nepa_mm='text'), dict(nepa_mm=[made])):
        assert facts_in(meta) == {}


@pytest.mark.parametrize('meta', [{}, None, 'text', dict(nepa_mm=None), dict(nepa_mm='ema'), dict(nepa_mm=dict(weights=['ema'])),
                                  dict(nepa_mm=dict(weights='raw')), dict(nepa_mm=dict(weights='as published'))])
def test_weights_of_which_nobody_says_that_they_are_averaged_are_raw(meta):
    check_kind(meta, False)
    with pytest.raises(CheckpointError, match=r'^it holds no averaged weights; .* \| leave ema: \(--ema\) out'):
        check_kind(meta, True)


def test_averaged_weights_are_not_taken_for_raw_ones():
    meta = dict(nepa_mm=record('ema', variant='release'))
    check_kind(meta, True)
    with pytest.raises(CheckpointError, match=r'^it holds the averaged weights alone \| .* \| take them by path or ema:'):
        check_kind(meta, False)


@pytest.mark.parametrize('backbone, variant', [
    (dict(), 'release'),
    (dict(with_cls_token=True, use_abs_pos_embed=False, gated_mlp=False, act='gelu', arch='base'), 'release'),
    (dict(with_cls_token=False, use_abs_pos_embed=True, gated_mlp=True, act='silu'), 'paper'),
    (dict(with_cls_token=False, use_abs_pos_embed=True), 'custom'),
    (dict(gated_mlp=True, act='silu'), 'custom'),
    (dict(act='relu'), 'custom'),
    (dict(act=['gelu']), 'custom'),
])
def test_variant(backbone, variant):
    assert variant_of(backbone) == variant


def test_meta_comes_back_from_a_header():
    facts = record('ema', variant='release')
    meta = dict(cfg='model = dict()\n', epoch=3, dataset_meta=dict(classes=['cat', 'ümläut\n']), nepa_mm=facts)
    header = to_header(meta)
    assert header['format'] == 'pt' and all(isinstance(value, str) for value in header.values())
    assert from_header(header) == meta
    arrays = dict(dataset_meta=dict(palette=np.array([[1, 2, 3]]), mean=np.float32(0.5), count=np.int64(3)), seed=np.int64(7))
    assert from_header(to_header(arrays)) == dict(dataset_meta=dict(palette=[[1, 2, 3]], mean=0.5, count=3), seed=7)


@pytest.mark.parametrize('value', [{1, 2}, b'bytes', slice(0, 2), 1j, {(1, 2): 3}, {None: {1}}])
def test_meta_that_json_has_no_place_for_is_written_or_refused_in_one_line(value):
    try:
        assert from_header(to_header(dict(epoch=3, dataset_meta=dict(a=value))))['epoch'] == 3
    except CheckpointError as error:
        assert 'dataset_meta' in str(error) and '\n' not in str(error)


@pytest.mark.parametrize('content', [
    '', ' ', 'text', '{', '[]', '5', 'null', '"text"', '{"a": ', '[' * 100000, '{"a":' * 100000, '1' * 5000, '\ud800'])
def test_a_header_that_is_broken_or_of_others_says_nothing(content):
    assert from_header(dict(nepa_mm=content)) == {}


def test_a_header_without_ours_says_nothing():
    assert from_header({}) == from_header({'format': 'pt', 'modelspec.title': 'x'}) == {}
    assert from_header(dict(nepa_mm=json.dumps(dict(a=1)))) == dict(a=1)
