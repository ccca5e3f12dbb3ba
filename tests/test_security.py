"""Hostile and damaged checkpoints at every entrance: nothing in them runs, and what is refused is refused in one line."""
import http.server
import inspect
import json
import os
import pickle
import runpy
import shutil
import subprocess
import sys
import threading
import types
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from forks import Process
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmpretrain.models import HuggingFaceClassifier
from PIL import Image
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.convert import hf_to_mm, mm_to_hf, publish
from nepa_mm.checkpoints.record import config_text
from nepa_mm.errors import CheckpointError
from tiny import OF_24, ROOT, TINY, randomize

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ''}
CODE = "open('ran', 'w').close()\n"  # in the working directory, which is a temporary one


class Call:
    """Pickles as a call of a function, which loading makes."""

    def __init__(self, function, *args):
        self.pair = function, args

    def __reduce__(self):
        return self.pair


def start(*command, cwd):
    """A command in an interpreter of its own."""
    return subprocess.Popen([sys.executable, '-W', 'ignore', *map(str, command)], cwd=cwd, env=ENV, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def forked(*command, cwd, imported='ours'):
    return Process([*command], cwd, imported=imported)


def finished(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def assert_one_line(code, out, err, parts):
    """A command has ended with the exit code of a bad checkpoint and one line that says why."""
    line = err.strip().splitlines()[-1]
    assert code == 4 and line.startswith('nepa_mm: error: ') and 'Traceback' not in out + err, out[-2000:] + err[-2000:]
    assert all(part in line for part in parts) and 'weights_only' not in line, line


CONFIG = '''
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=2),
    backbone=dict(
        type='nepa_mm.NEPAViT', causal=False, out_type='avg_featmap', img_size=16, patch_size=8,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16, loss=dict(type='CrossEntropyLoss')))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='{folder}/images', data_prefix='', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
test_dataloader = train_dataloader
test_evaluator = dict(type='Accuracy', topk=1)
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(by_epoch=True, max_epochs=1)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), fit_checkpoint=dict(type='nepa_mm.FitCheckpointHook'),
    checkpoint_record=dict(type='nepa_mm.CheckpointRecordHook'))
'''


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A tiny training: its folder, config and checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    for kind in 'ab':
        (folder / 'images' / kind).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.random.default_rng(i).integers(256, size=(16, 16, 3), dtype='u1')).save(
                folder / 'images' / kind / f'{i}.png')
    (folder / 'config.py').write_text(CONFIG.replace('{folder}', str(folder)))
    code, out, err = finished(forked(ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run', cwd=folder))
    assert code == 0, out[-2000:] + err[-2000:]
    return folder, folder / 'config.py', folder / 'run/epoch_1.pth'


def test_training_goes_on_from_a_checkpoint_whose_config_is_code(trained, tmp_path):
    _, config, saved = trained
    checkpoint = torch.load(saved, weights_only=False)
    checkpoint['meta'].update(config='import os\n' + CODE, cfg=checkpoint['meta']['cfg'] + CODE)
    checkpoint['message_hub']['runtime_info']['cfg'] = CODE
    torch.save(checkpoint, tmp_path / 'evil.pth')
    code, out, err = finished(forked(ROOT / 'tools/train.py', config, '--resume', 'evil.pth', '--work-dir', 'run',
                                     '--allow-resume-change', '--cfg-options', 'train_cfg.max_epochs=2', cwd=tmp_path))
    assert code == 0, out[-2000:] + err[-2000:]
    assert "evil.pth: meta['config'] is left out, which mmengine would execute on resume" in out + err
    assert 'resumed epoch: 1, iter: 2' in out + err and (tmp_path / 'run/epoch_2.pth').exists()
    assert not list(tmp_path.rglob('ran'))
    again = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=False)['meta']
    assert 'config' not in again and CODE not in again['cfg']


TOY = '''
import sys
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.layer(inputs).sum())

def train(epochs, **kwargs):
    Runner(Toy(), f'run{epochs}', train_dataloader=dict(
               batch_size=1, dataset=[dict(inputs=torch.ones(1))], sampler=dict(type='DefaultSampler'),
               collate_fn=dict(type='default_collate')),
           train_cfg=dict(by_epoch=True, max_epochs=epochs), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
           experiment_name=f'toy{epochs}', **kwargs).train()

train(1)
checkpoint = torch.load('run1/epoch_1.pth', weights_only=False)
checkpoint['meta']['config'] = "open('ran', 'w').close()"
torch.save(checkpoint, 'evil.pth')
train(2, resume=True, load_from='evil.pth')
assert not any(module.startswith('nepa_mm') for module in sys.modules)
'''


def test_stock_mmengine_executes_that_config(tmp_path):
    code, out, err = finished(forked('-c', TOY, cwd=tmp_path, imported='hosts'))
    assert (tmp_path / 'ran').exists(), out[-2000:] + err[-2000:]


INFERENCER = '''
from mmengine.infer import BaseInferencer
class Inferencer(BaseInferencer):
    preprocess = visualize = postprocess = _init_pipeline = None
for file in ('meta.pth', 'message_hub.pth'):
    try:
        Inferencer(weights=file, scope='mmengine')
    except Exception as error:
        print(repr(error))
'''


def test_an_inferencer_of_the_hosts_executes_no_text_of_a_checkpoint(tmp_path):
    for folder in ('stock', 'ours'):
        (tmp_path / folder).mkdir()
        torch.save(dict(state_dict={'a': torch.ones(1)}, meta=dict(cfg="open('by meta', 'w')\n")), tmp_path / folder / 'meta.pth')
        torch.save(dict(state_dict={'a': torch.ones(1)}, meta={}, message_hub=dict(runtime_info=dict(
            cfg="open('by message_hub', 'w')\n"))), tmp_path / folder / 'message_hub.pth')
    stock = forked('-c', INFERENCER, cwd=tmp_path / 'stock', imported='hosts')
    ours = forked('-c', 'import nepa_mm\n' + INFERENCER, cwd=tmp_path / 'ours', imported='hosts')
    (_, out, err), *_ = finished(ours), finished(stock)
    assert {path.name for path in (tmp_path / 'stock').glob('by *')} == {'by meta', 'by message_hub'}
    assert not list((tmp_path / 'ours').glob('by *')), out + err


WOULD = 'it would run exec as it loads, which is no part of weights; nothing was run'
TRAIN, TEST, CONVERT = 'tools/train.py', 'tools/test.py', 'tools/model_converters'
COMMANDS = [  # in a process of its own or in this one, what is run, what the line says
    (True, (TRAIN, 'config.py', '--work-dir', 'a', '--cfg-options', 'load_from=evil.pth'), (WOULD, 'evil.pth (load_from)')),
    (False, (TRAIN, 'config.py', '--work-dir', 'a', '--resume', 'evil.pth'), (WOULD, 'evil.pth (load_from)')),
    (False, (TRAIN, 'pretrained.py', '--work-dir', 'a'), (WOULD, "(init_cfg={'type': 'Pretrained', 'checkpoint': 'evil.pth'})")),
    (False, (TRAIN, 'config.py', '--work-dir', 'a', '--cfg-options', 'load_from=ema:hf:released'),
     ('it would run exec', 'pytorch_model_ema.bin')),
    (False, (TEST, 'config.py', 'evil.pth', '--work-dir', 'a'), (WOULD, 'evil.pth (load_from)')),
    (False, (TEST, 'config.py', 'raw:evil.pth', '--work-dir', 'a'), (WOULD, "(load_from='raw:evil.pth')")),
    (False, (f'{CONVERT}/publish_model.py', 'evil.pth', 'made'), (WOULD, 'evil.pth')),
    (False, (f'{CONVERT}/publish_model.py', 'evil.pth', 'made.pth', '--ema'), (WOULD, 'evil.pth')),
    (False, (f'{CONVERT}/nepa_hf_to_mm.py', 'evil.pth', 'made.safetensors'), (WOULD, 'evil.pth')),
    (False, (f'{CONVERT}/nepa_hf_to_mm.py', 'hf:evil.pth', 'made.pth'), (WOULD, 'evil.pth')),
    (False, (f'{CONVERT}/nepa_hf_to_mm.py', 'released', 'made.pth', '--ema'), ('it would run exec', 'pytorch_model_ema.bin')),
    (False, (f'{CONVERT}/nepa_hf_to_mm.py', 'released', 'made.pth'),
     ('it cannot be read as weights', 'released/model.safetensors | ')),
    (False, (f'{CONVERT}/nepa_mm_to_hf.py', 'evil.pth', 'made'), (WOULD, 'evil.pth')),
    (False, (f'{CONVERT}/vit_timm_to_mm.py', 'evil.pth', 'made.pth'), ('evil.pth', 'exec')),
]


@pytest.mark.parametrize('own_process, command, parts', COMMANDS, ids=[' '.join(command) for _, command, _ in COMMANDS])
def test_a_hostile_file_ends_a_command_in_one_line(own_process, command, parts, trained, tmp_path, monkeypatch, capfd):
    config = trained[1].read_text()
    (tmp_path / 'config.py').write_text(config)
    (tmp_path / 'pretrained.py').write_text(
        config + "model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='evil.pth')\n")
    torch.save(dict(state_dict={'backbone.a': Call(exec, CODE)}), tmp_path / 'evil.pth')
    (tmp_path / 'released').mkdir()
    (tmp_path / 'released/config.json').write_text(json.dumps(dict(model_type='vit_nepa')))
    for name in ('pytorch_model_ema.bin', 'model.safetensors'):
        shutil.copy(tmp_path / 'evil.pth', tmp_path / 'released' / name)
    tool, *arguments = command
    if own_process:
        code, out, err = finished(start(ROOT / tool, *arguments, cwd=tmp_path))
    else:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        code, (out, err) = exit_.value.code, capfd.readouterr()
    assert_one_line(code, out, err, parts)
    assert not list(tmp_path.rglob('ran')) and not list(tmp_path.rglob('made*'))


def released_folder(folder, **config):
    """A tiny checkpoint in the released format, with a head for three classes."""
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    weights = released_state_dict(randomize(NEPA(backbone)).state_dict())
    weights |= {'classifier.weight': torch.randn(3, 16), 'classifier.bias': torch.zeros(3)}
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / 'model.safetensors')
    (folder / 'config.json').write_text(json.dumps(dict(dict(
        model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
        patch_size=7, is_causal=False, qk_norm=True, qk_norm_affine=True, add_pooling_layer=True), **config)))
    return f'hf:{folder}'


def test_a_hostile_average_beside_good_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = released_folder(tmp_path / 'released')
    torch.save({'a': Call(exec, CODE)}, tmp_path / 'released/pytorch_model_ema.bin')
    torch.save({'a': Call(exec, CODE)}, tmp_path / 'released/pytorch_model.bin')  # which nobody asks for
    assert get_model(address).head.fc.weight.shape == (3, 16)
    for use in (get_model, partial(CheckpointLoader.load_checkpoint, logger='silent')):
        with pytest.raises(CheckpointError, match='it would run exec as it loads.*pytorch_model_ema.bin'):
            use(f'ema:{address}')
    with pytest.raises(CheckpointError, match='it would run exec as it loads.*pytorch_model.bin'):
        get_model(f'{address}/pytorch_model.bin')
    assert os.listdir() == ['released']


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder; downloads go to another one."""
    (tmp_path / 'served').mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / 'served'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
        monkeypatch.setenv('no_proxy', '*')
        yield tmp_path / 'served', f'http://127.0.0.1:{made.server_port}'
        made.shutdown()


def test_a_hostile_download_is_refused(server, tmp_path, monkeypatch):
    folder, url = server
    monkeypatch.chdir(tmp_path)
    torch.save({'a': Call(exec, CODE)}, folder / 'evil.pth')
    torch.save({'backbone.a': torch.ones(1)}, folder / 'good.pth')
    torch.save({'backbone.a': torch.ones(1)}, folder / 'good-01234567.pth')
    assert CheckpointLoader.load_checkpoint(f'{url}/good.pth')['state_dict'] == {'backbone.a': torch.ones(1)}
    for name, message in {'evil.pth': 'would run exec as it loads', 'good-01234567.pth': 'cannot be downloaded (invalid hash',
                          'gone.pth': 'cannot be downloaded (HTTP Error 404', '': '', '..': ''}.items():
        with pytest.raises(CheckpointError) as error:
            CheckpointLoader.load_checkpoint(f'{url}/{name}')
        assert message in str(error.value) and '\n' not in str(error.value)
    for bad in ('http://a host/a.pth', 'http://[a/a.pth', 'https://', 'http://127.0.0.1:99999/a.pth'):
        with pytest.raises(CheckpointError) as error:
            CheckpointLoader.load_checkpoint(bad)
        assert '\n' not in str(error.value)
    assert not list(tmp_path.rglob('ran')) and not list(tmp_path.glob('*.pth'))


BACKBONE = dict(type='nepa_mm.NEPAViT', **TINY)
OPEN = dict(type='builtins.open', file='ran', mode='w')
ANSWERS = dict(type='mmpretrain.VQAGenerationHead', decoder=dict(type='GELU'), num_ans_candidates=1, inference_method='rank')
FCN = dict(type='mmseg.FCNHead', in_channels=16, channels=8, num_convs=1, num_classes=9)
HOSTILE_CONFIGS = {
    'a function': dict(model=OPEN),
    'a command': dict(model=dict(type='os.system', command='touch ran')),
    'a backbone': dict(model=dict(type='nepa_mm.NEPA', backbone=OPEN)),
    'a head': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, head=OPEN)),
    'a neck': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, neck=OPEN)),
    'pixels': dict(model=dict(type='nepa_mm.NEPA', backbone=BACKBONE, data_preprocessor=OPEN)),
    'a loss': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, head=dict(
        type='LinearClsHead', num_classes=3, in_channels=16, loss=OPEN))),
    'a loss in a list': dict(default_scope='mmseg', model=dict(type='EncoderDecoder', backbone=BACKBONE, decode_head=dict(
        FCN, loss_decode=[OPEN]))),
    'a pickle of answers': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, head=dict(
        ANSWERS, answer_list_path='evil.pkl'))),
    'a pickle of class weights': dict(default_scope='mmseg', model=dict(
        type='EncoderDecoder', backbone=BACKBONE, decode_head=dict(
            FCN, loss_decode=dict(type='mmseg.CrossEntropyLoss', class_weight='evil.pkl')))),
    'a padding': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, neck=dict(
        type='ConvModule', in_channels=1, out_channels=1, kernel_size=1, padding='touch ran', padding_mode='os.system'))),
    'a norm of timm': dict(model=dict(type='ImageClassifier', backbone=dict(
        type='TIMMBackbone', model_name='resnet10t', norm_layer='evil.registry'))),
    'a convolution of patches': dict(model=dict(type='ImageClassifier', backbone=dict(
        type='VisionTransformer', arch='deit-tiny', patch_cfg=dict(conv_type='evil.registry')))),
    'a module without a dot': dict(model=dict(type='ImageClassifier', backbone=BACKBONE, neck=dict(
        type='ConvModule', in_channels=1, out_channels=1, kernel_size=1, padding=1, padding_mode='evil_alone'))),
    'a scope': dict(default_scope='evil', model=dict(type='nepa_mm.NEPA', backbone=BACKBONE)),
    'a scope of the model': dict(model=dict(type='nepa_mm.NEPA', backbone=BACKBONE, _scope_='evil')),
    'a scope of a part': dict(model=dict(type='nepa_mm.NEPA', backbone=dict(BACKBONE, _scope_='evil'))),
}


def hostile_surroundings(folder):
    """What a checkpoint could name: a pickle, a module."""
    (folder / 'evil').mkdir(parents=True)
    (folder / 'evil/__init__.py').touch()
    for file in ('evil/registry.py', 'evil_alone.py'):
        (folder / file).write_text(CODE)
    (folder / 'evil.pkl').write_bytes(pickle.dumps(Call(exec, CODE)))
    for name in ('evil', 'evil.registry', 'evil_alone'):
        sys.modules.pop(name, None)


@pytest.mark.parametrize('kind', HOSTILE_CONFIGS)
def test_a_config_that_the_hosts_would_run_is_refused(kind, tmp_path, monkeypatch):
    config = HOSTILE_CONFIGS[kind]
    hostile_surroundings(tmp_path / 'stock')
    monkeypatch.chdir(tmp_path / 'stock')
    monkeypatch.syspath_prepend(os.curdir)
    try:
        with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmpretrain'):
            MODELS.build(ConfigDict(config['model']))
    except Exception:  # as what runs is seldom a model
        pass
    assert os.path.exists('ran'), 'a config that does nothing tests nothing'

    hostile_surroundings(tmp_path / 'ours')
    monkeypatch.chdir(tmp_path / 'ours')
    weights, text = randomize(NEPA(NEPAViT(**TINY))).state_dict(), config_text(config)
    torch.save(dict(state_dict=weights, meta=dict(cfg=text)), 'a.pth')
    save_file(weights, 'a.safetensors', {'format': 'pt', 'nepa_mm': json.dumps(dict(cfg=text))})
    for address in ('a.pth', 'a.safetensors', 'raw:a.pth'):
        try:
            get_model(address)
        except CheckpointError as error:
            assert '\n' not in str(error)
        else:
            assert 'scope' in kind, 'a scope may be ignored, anything else is to be refused'
        assert not os.path.exists('ran'), address


def test_code_of_a_repository_is_not_asked_for(tmp_path, monkeypatch):
    """transformers runs it if it is told to, and mmpretrain passes on what it is told."""
    asked = []
    auto = types.SimpleNamespace(from_pretrained=lambda *args, **kwargs: asked.append(kwargs))
    monkeypatch.setitem(sys.modules, 'transformers', types.SimpleNamespace(AutoConfig=auto, AutoModelForImageClassification=auto))
    # As it is where transformers is installed
    monkeypatch.setattr(HuggingFaceClassifier, '__init__', inspect.unwrap(HuggingFaceClassifier.__init__))
    model = dict(type='mmpretrain.HuggingFaceClassifier', model_name='evil/model', trust_remote_code=True, backbone={})
    try:
        MODELS.build(ConfigDict(model))
    except AttributeError:  # of what was loaded
        pass
    assert asked.pop()['trust_remote_code']
    text = config_text(dict(model=model))
    torch.save(dict(state_dict=NEPA(NEPAViT(**TINY)).state_dict(), meta=dict(cfg=text)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError):
        get_model(str(tmp_path / 'a.pth'))
    assert not asked


def test_what_a_config_would_load_and_call_later_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'a': Call(exec, CODE)}, 'evil.pth')
    load = dict(type='Pretrained', checkpoint='evil.pth')
    backbone = dict(BACKBONE, init_cfg=[load, dict(type='os.system', command='touch ran')])
    model = dict(type='nepa_mm.NEPA', backbone=backbone, init_cfg=load, train_cfg=dict(augments=[OPEN]))
    torch.save(dict(state_dict=NEPA(NEPAViT(**TINY)).state_dict(), meta=dict(cfg=config_text(dict(model=model)))), 'a.pth')
    assert isinstance(get_model('a.pth'), NEPA)
    with pytest.raises(CheckpointError):
        get_model('a.pth', type='os.system')
    assert sorted(os.listdir()) == ['a.pth', 'evil.pth']


def of(backbone=BACKBONE, **more):
    """Text of a config; a dict replaces or adds arguments of a good backbone."""
    arguments = {**BACKBONE, **backbone} if isinstance(backbone, dict) else backbone
    return config_text(dict(model=dict(dict(type='nepa_mm.NEPA', backbone=arguments), **more)))


def sized(**sizes):
    return of(dict(arch=dict(TINY['arch'], **sizes)))


BROKEN_CONFIGS = {
    'eval': "model = dict(type='builtins.eval', source='1')\n",
    'type of a list': of(type=['nepa_mm.NEPA']),
    'type of a dict': of(type=dict(type='nepa_mm.NEPA')),
    'type of a number': of(type=5),
    'type of bytes': of(type=b'nepa_mm.NEPA'),
    'empty type': of(type=''),
    'type of none': of(type=None),
    'nested type of a list': of(data_preprocessor=dict(type=[1])),
    'nested empty type': of(data_preprocessor=dict(type='')),
    'a module of a module': of(type='nepa_mm.mmengine.os.system'),
    'no model': of(type='Adam'),
    'a part': of(type='BN'),
    'backbone of a text': of('resnet'),
    'backbone of a list': of([1]),
    'backbone of a part': of(dict(type='BN')),
    'no backbone': "model = dict(type='nepa_mm.NEPA')\n",
    'unknown argument': of(foo=1),
    'argument that is no name': of(**{'a b': 1}),
    'keys that are no names': "model = {'type': 'nepa_mm.NEPA', 1: 2, None: 3, 'backbone': {}}\n",
    'unknown argument of the backbone': of(dict(foo=1)),
    'unknown arch': of(dict(arch='zz')),
    'number as arch': of(dict(arch=5)),
    'code as activation': of(dict(act='__import__("os")')),
    'list as activation': of(dict(act=[1])),
    'list as patch': of(dict(patch_size=[7])),
    'no patch': of(dict(patch_size=0)),
    'huge patch': of(dict(patch_size=10**30)),
    'text as width': sized(embed_dims='16'),
    'no width': sized(embed_dims=0),
    'nan as width': sized(embed_dims=float('nan')),
    'negative width': sized(embed_dims=-16),
    'huge width': sized(embed_dims=2 * 10**12),
    'huge layers': sized(feedforward_channels=10**13),
    'no heads': sized(num_heads=0),
    'another width': sized(embed_dims=32),
    'another depth': sized(num_layers=4),
    'text as depth': sized(num_layers='3'),
    'scope of a number': 'default_scope = 5\n' + of(),
    'scope of a list': 'default_scope = [5]\n' + of(),
}


@pytest.mark.parametrize('kind', BROKEN_CONFIGS)
def test_a_config_that_builds_no_model_is_refused_in_one_line(kind, tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=NEPA(NEPAViT(**TINY)).state_dict(), meta=dict(cfg=BROKEN_CONFIGS[kind])), path)
    with pytest.raises(CheckpointError) as error:
        get_model(path)
    assert path in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['', 'x = 1\n', "text = 'a'\n" + of(), "filename = 'a'\n" + of(), 'pretty_text = 1\n' + of(),
                                  'model = 5\n', 'model = [1]\n', 'model = {[]: 1}\n', 'model = (' * 10000, '\0',
                                  'default_scope = 1'])
def test_what_says_nothing_of_the_model_is_done_without(text, tmp_path):
    torch.save(dict(state_dict=NEPA(NEPAViT(**TINY)).state_dict(), meta=dict(cfg=text)), tmp_path / 'a.pth')
    assert isinstance(get_model(str(tmp_path / 'a.pth')), NEPA)


SIZES = [
    'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'image_size', 'patch_size', 'num_channels']
WRONG_VALUES = [
    *((key, value) for key in SIZES for value in ('16', None, -1, 0, 1.5, float('nan'), float('inf'), [], {})),
    *((key, 10**400) for key in SIZES if key != 'num_hidden_layers'),
    *((key, value) for key in ('rope_theta', 'layer_norm_eps') for value in ('x', None, -1, float('nan'), float('inf'), [])),
    *(('drop_path_prob', value) for value in ('x', None, -1, 1.5, float('nan'), [])),
    *(('layerscale_value', value) for value in ('x', 10**400, [], {})),
    *(('pos_embed_rescale', value) for value in ('x', -1, float('nan'), [])),
    *(('hidden_act', value) for value in ('__import__("os").system("touch ran")', 'os.system', 5, None, [], {})),
    *((key, 'False') for key in ('is_causal', 'qk_norm', 'use_gated_mlp', 'qkv_bias')),  # which is true
]


@pytest.mark.parametrize('key, value', WRONG_VALUES, ids=lambda part: str(part)[:12])
def test_a_config_json_with_a_wrong_value_is_refused_in_one_line(key, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = released_folder(tmp_path / 'released', **{key: value})
    with pytest.raises(CheckpointError) as error:
        get_model(address)
    assert str(tmp_path / 'released') in str(error.value) and '\n' not in str(error.value)
    for way in (CheckpointLoader.load_checkpoint, lambda address: hf_to_mm(address, tmp_path / 'new.pth')):
        try:
            way(address)
        except CheckpointError as error:
            assert '\n' not in str(error)
    assert not list(tmp_path.rglob('ran'))


@pytest.mark.parametrize('content', [
    '', '{', 'text', '[]', 'null', '"vit_nepa"', '5', '{}', '{"model_type": null}', '{"model_type": ["vit_nepa"]}', '\udcff',
    '{"model_type": "vit"}', '{"model_type": "vit_nepa", "hidden_size": ' + '9' * 5000 + '}', '[' * 100000, '{"a":' * 100000])
def test_a_config_json_that_is_none_is_refused_in_one_line(content, tmp_path):
    address = released_folder(tmp_path / 'released')
    (tmp_path / 'released/config.json').write_bytes(content.encode(errors='surrogateescape'))
    for way in (get_model, CheckpointLoader.load_checkpoint, lambda address: hf_to_mm(address, tmp_path / 'new.pth')):
        with pytest.raises(CheckpointError) as error:
            way(address)
        assert str(tmp_path / 'released') in str(error.value) and '\n' not in str(error.value)
    assert os.listdir(tmp_path) == ['released']


@pytest.mark.parametrize('names', [
    ['a', 'b', 'c'], 'abc', 5, {}, {'0': {}, '1': [], '2': 1}, {'0': 'a', '1': 'b'}, {'a': 'b'}, None])
def test_names_of_classes_that_are_none_are_left_out(names, tmp_path):
    assert not get_model(released_folder(tmp_path / 'released', id2label=names)).dataset_meta.get('classes')


def test_odd_names_of_classes_stay_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = ["'''+open('ran','w').name+'''", 'a\nb\\', '{{$X:a']
    address = released_folder(tmp_path / 'released', id2label={str(i): name for i, name in enumerate(odd)})
    assert get_model(address).dataset_meta == dict(classes=odd)
    hf_to_mm(address, tmp_path / 'new.safetensors')
    assert get_model('new.safetensors').dataset_meta == dict(classes=odd)
    assert sorted(os.listdir()) == ['new.safetensors', 'released']


def test_sizes_that_no_weight_has_are_refused_before_a_model_is_built(tmp_path):
    """As config.json, a config text and the name of a weight can tell them; building so many blocks would take minutes."""
    released_folder(tmp_path / 'released', num_hidden_layers=10**6)
    state_dict = NEPA(NEPAViT(**TINY)).state_dict()
    torch.save({**state_dict, 'backbone.layers.999999.x': torch.ones(1)}, tmp_path / 'name.pth')
    torch.save(dict(state_dict=state_dict, meta=dict(cfg=sized(num_layers=10**6))), tmp_path / 'text.pth')
    script = '''
import resource, signal, sys
from nepa_mm import get_model
from nepa_mm.errors import CheckpointError
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
for address in sys.argv[1:]:
    signal.setitimer(signal.ITIMER_VIRTUAL, 8)
    try:
        get_model(address)
    except CheckpointError as error:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(error)
'''
    addresses = 'hf:released', 'name.pth', 'text.pth'
    processes = [forked('-c', script, address, cwd=tmp_path) for address in addresses]
    ended = {address: finished(process) for address, process in zip(addresses, processes)}
    for address, (code, out, _) in ended.items():
        assert code == 0 and address in out.strip().splitlines()[-1], ended


def weights(**changed):
    """Weights of a tiny model, some of the backbone replaced, added, or for None left out."""
    result = OrderedDict(randomize(NEPA(NEPAViT(**TINY))).state_dict())
    result.update({f'backbone.{name}': value for name, value in changed.items()})
    return OrderedDict((name, value) for name, value in result.items() if value is not None)


def with_metadata(metadata):
    result = weights()
    result._metadata = metadata
    return result


PATCH, QKV = 'patch_embed.weight', 'layers.0.attn.qkv.weight'
LIKE_PATCH = torch.zeros(16, 3, 7, 7)
DAMAGES = {
    'key of a number': lambda: dict(state_dict={**weights(), 1: torch.ones(1)}),
    'key of bytes': lambda: dict(state_dict={**weights(), b'a': torch.ones(1)}),
    'keys of numbers alone': lambda: {1: torch.ones(1)},
    'numbers alone': lambda: {1: 2},
    'nothing': lambda: {},
    'no weights': lambda: dict(meta={}),
    'weights of none': lambda: dict(state_dict={}),
    'weights of a list': lambda: dict(state_dict=[1]),
    'weights of a text': lambda: dict(state_dict='text'),
    'weights in weights': lambda: dict(state_dict=dict(state_dict=weights())),
    'a number among weights': lambda: dict(state_dict=weights(x=5)),
    'none among weights': lambda: dict(state_dict={**weights(), 'backbone.patch_embed.weight': None}),
    'scalar patch embedding': lambda: dict(state_dict=weights(**{PATCH: torch.tensor(1.)})),
    'flat patch embedding': lambda: dict(state_dict=weights(**{PATCH: torch.zeros(16)})),
    'empty patch embedding': lambda: dict(state_dict=weights(**{PATCH: torch.zeros(0)})),
    'patches without pixels': lambda: dict(state_dict=weights(**{PATCH: torch.zeros(16, 3, 0, 0)})),
    'patch embedding that is too large': lambda: dict(state_dict=weights(**{PATCH: torch.zeros(1).expand(10**12)})),
    'scalar qkv': lambda: dict(state_dict=weights(**{QKV: torch.tensor(1.)})),
    'block of no number': lambda: dict(state_dict=weights(**{'layers.x.y': torch.ones(1)})),
    'block of an empty number': lambda: dict(state_dict=weights(**{'layers.': torch.ones(1)})),
    'block of a long number': lambda: dict(state_dict=weights(**{'layers.' + '9' * 5000 + '.y': torch.ones(1)})),
    'no MLP': lambda: dict(state_dict=weights(**{f'layers.{i}.mlp.fc1.weight': None for i in range(3)})),
    'no qkv': lambda: dict(state_dict=weights(**{QKV: None})),
    'no patch embedding': lambda: dict(state_dict=weights(**{PATCH: None})),
    'no projection': lambda: dict(state_dict=weights(**{'layers.0.attn.proj.weight': None})),
    'no last norm': lambda: dict(state_dict=weights(**{'norm.weight': None, 'norm.bias': None})),
    'LayerScale of another width': lambda: dict(state_dict=weights(**{'layers.0.ls1.gamma': torch.ones(5)})),
    'scalar positions': lambda: dict(state_dict=weights(pos_embed=torch.tensor(1.))),
    'flat positions': lambda: dict(state_dict=weights(pos_embed=torch.zeros(16))),
    'sparse': lambda: dict(state_dict=weights(**{PATCH: LIKE_PATCH.to_sparse()})),
    'complex': lambda: dict(state_dict=weights(**{PATCH: LIKE_PATCH.to(torch.complex64)})),
    'float8': lambda: dict(state_dict=weights(**{PATCH: LIKE_PATCH.to(torch.float8_e4m3fn)})),
    'without storage': lambda: dict(state_dict=weights(**{PATCH: LIKE_PATCH.to('meta')})),
    'quantized': lambda: dict(state_dict=weights(**{PATCH: torch.quantize_per_tensor(LIKE_PATCH, 1., 0, torch.qint8)})),
    'nested': lambda: dict(state_dict=weights(**{PATCH: torch.nested.nested_tensor([torch.zeros(3), torch.zeros(2)])})),
    'empty QK-norm': lambda: dict(state_dict=weights(**{'layers.0.attn.q_norm.weight': torch.zeros(0)})),
    'scalar QK-norm': lambda: dict(state_dict=weights(**{'layers.0.attn.q_norm.weight': torch.tensor(1.)})),
    'scalar head': lambda: dict(state_dict={**weights(), 'head.fc.weight': torch.tensor(1.)}),
    'head of another width': lambda: dict(state_dict={
        **weights(), 'head.fc.weight': torch.ones(3, 5), 'head.fc.bias': torch.ones(3)}),
    '_metadata of a list': lambda: dict(state_dict=with_metadata([1])),
    '_metadata with a list': lambda: dict(state_dict=with_metadata({'': [1]})),
    '_metadata of the backbone': lambda: dict(state_dict=with_metadata({'backbone': 5})),
    '_metadata of a block': lambda: dict(state_dict=with_metadata({'backbone.layers': 5, 'backbone.layers.0.ln1': 'text'})),
    '_metadata with our key': lambda: dict(state_dict=with_metadata({'backbone': {'nepa_mm': 'text'}, '': {'nepa_mm': 5}})),
    'meta of a text': lambda: dict(meta='text', state_dict=weights()),
    'meta of a list': lambda: dict(meta=[1], state_dict=weights()),
    'meta of none': lambda: dict(meta=None, state_dict=weights()),
    'record of a text': lambda: dict(meta=dict(nepa_mm='text'), state_dict=weights()),
    'record of a list': lambda: dict(meta=dict(nepa_mm=[1]), state_dict=weights()),
    'settings of a text': lambda: dict(meta=dict(nepa_mm=dict(settings='text')), state_dict=weights()),
    'settings of tensors': lambda: dict(meta=dict(nepa_mm=dict(settings=dict(act=torch.zeros(3)))), state_dict=weights()),
    'classes of a text': lambda: dict(meta=dict(dataset_meta='text'), state_dict=weights()),
    'classes of a number': lambda: dict(meta=dict(dataset_meta=dict(classes=5)), state_dict={
        **weights(), 'head.fc.weight': torch.ones(3, 16), 'head.fc.bias': torch.ones(3)}),
    'classes of lists': lambda: dict(meta=dict(dataset_meta=dict(classes=[[1], [2], [3]])), state_dict={
        **weights(), 'head.fc.weight': torch.ones(3, 16), 'head.fc.bias': torch.ones(3)}),
    'facts of tuples': lambda: dict(meta=dict(dataset_meta={(1, 2): 3}), state_dict=weights()),
    'facts of sets': lambda: dict(meta=dict(dataset_meta=dict(a={1, 2})), state_dict=weights()),
    'facts of bytes': lambda: dict(meta=dict(dataset_meta=dict(a=b'bytes')), state_dict=weights()),
    'average of a text': lambda: dict(ema_state_dict='text', state_dict=weights()),
    'average of a list': lambda: dict(ema_state_dict=[1], state_dict=weights()),
    'average of numbers': lambda: dict(ema_state_dict={1: 2}, state_dict=weights()),
    'metadata of a text': lambda: dict(metadata='text', state_dict=weights()),
    'metadata alone': lambda: dict(metadata={}),
    'metadata of a number': lambda: dict(metadata=dict(nepa_mm=5), state_dict=weights()),
    'metadata of brackets': lambda: dict(metadata=dict(nepa_mm='[' * 100000), state_dict=weights()),
    'config of a number': lambda: dict(meta=dict(cfg='model = 5'), state_dict=weights()),
    'config of a list': lambda: dict(meta=dict(cfg='model = [1]'), state_dict=weights()),
    'config without backbone': lambda: dict(meta=dict(cfg='model = dict(type="nepa_mm.NEPA")'), state_dict=weights()),
    'backbone of a number': lambda: dict(meta=dict(cfg=of(5)), state_dict=weights()),
    'RoPE of a number': lambda: dict(meta=dict(cfg=of(dict(rope=5))), state_dict=weights()),
    'activation of a list': lambda: dict(meta=dict(cfg=of(dict(act=[1]))), state_dict=weights()),
    'image of a text': lambda: dict(meta=dict(cfg=of(dict(img_size='text'))), state_dict=weights()),
}
if not OF_24:  # which does not save it
    DAMAGES['uint16'] = lambda: dict(state_dict=weights(**{PATCH: LIKE_PATCH.to(torch.uint16)}))


def loaded_into_a_backbone(address):
    backbone = NEPAViT(**TINY, init_cfg=dict(type='Pretrained', checkpoint=address))
    backbone.init_weights()


@pytest.mark.parametrize('kind', DAMAGES)
def test_a_damaged_checkpoint_is_read_or_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(DAMAGES[kind](), 'a.pth')
    load = partial(CheckpointLoader.load_checkpoint, logger='silent')
    ways = {
        'load': lambda: load('a.pth'), 'raw': lambda: load('raw:a.pth'), 'ema': lambda: load('ema:a.pth'),
        'hf': lambda: load('hf:a.pth'), 'get_model': lambda: get_model('a.pth'), 'init': lambda: loaded_into_a_backbone('a.pth'),
        'publish': lambda: publish('a.pth', tmp_path / 'made/a.safetensors'),
        'publish as pickle': lambda: publish('a.pth', tmp_path / 'made/a.pth'),
        'to hf': lambda: mm_to_hf('a.pth', tmp_path / 'made/hf'),
        'to mm': lambda: hf_to_mm('a.pth', tmp_path / 'made/b.safetensors')}
    trouble = {}
    for way, run in ways.items():
        try:
            run()
        except CheckpointError as error:
            if '\n' in str(error) or 'a.pth' not in str(error):
                trouble[way] = str(error)
        except Exception as error:
            trouble[way] = repr(error)
    assert not trouble
    made = {path.name for path in tmp_path.glob('made/hf/*')}
    assert not made or made == {'config.json', 'model.safetensors'}  # none of these says how images are prepared
    assert not list(tmp_path.rglob('.*.tmp'))


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(kind, tmp_path):
    state_dict = weights()
    torch.save(dict(state_dict={name: value.to(kind) for name, value in state_dict.items()}), tmp_path / 'a.pth')
    model = get_model(str(tmp_path / 'a.pth'))
    found = model.backbone.patch_embed.weight
    assert found.dtype == torch.float32 and torch.equal(found, state_dict['backbone.patch_embed.weight'].to(kind).float())


FOREIGN = {
    'MAE': lambda: dict(model={'cls_token': torch.zeros(1, 1, 16), 'pos_embed': torch.zeros(1, 17, 16),
                               'patch_embed.proj.weight': LIKE_PATCH, 'blocks.0.attn.qkv.weight': torch.zeros(48, 16),
                               'decoder_embed.weight': torch.zeros(8, 16)}),
    'DINO': lambda: dict(teacher={'backbone.patch_embed.proj.weight': LIKE_PATCH, 'backbone.norm.weight': torch.ones(16)},
                         student={'module.backbone.cls_token': torch.zeros(1, 1, 16)}, epoch=3),
    'ResNet': lambda: {'conv1.weight': torch.zeros(8, 3, 7, 7), 'fc.weight': torch.zeros(3, 8), 'fc.bias': torch.zeros(3)},
    'mmpretrain ViT': lambda: dict(meta={}, state_dict={
        'backbone.patch_embed.projection.weight': LIKE_PATCH, 'backbone.layers.0.attn.qkv.weight': torch.zeros(48, 16)}),
}


@pytest.mark.parametrize('kind', FOREIGN)
def test_a_checkpoint_of_another_architecture_is_refused_with_its_first_keys(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = FOREIGN[kind]()
    torch.save(checkpoint, 'a.pth')
    inside = next((part for part in checkpoint.values() if isinstance(part, dict) and part), checkpoint)
    first = next(iter(inside)).removeprefix('backbone.')
    for way in (lambda: get_model('a.pth'), lambda: loaded_into_a_backbone('a.pth'), lambda: publish('a.pth', tmp_path / 'made'),
                lambda: mm_to_hf('a.pth', tmp_path / 'made'), lambda: hf_to_mm('a.pth', tmp_path / 'made.pth')):
        with pytest.raises(CheckpointError, match='first keys: ') as error:
            way()
        line = str(error.value)
        assert 'a.pth' in line and '\n' not in line and first in line.partition('first keys: ')[2], line
    assert os.listdir() == ['a.pth']
