import json
import re
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from forks import start
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.convert import hf_to_mm, mm_to_hf, publish, write_weights
from nepa_mm.checkpoints.record import from_header
from nepa_mm.checkpoints.storage.durable import check_whole, write_checkpoint
from nepa_mm.checkpoints.storage.files import sha256
from nepa_mm.errors import CheckpointError, ConfigError, UserError
from nepa_mm.version import __version__
from tiny import GOLDEN, ROOT, TINY, needs_golden, randomize

CASES = ['pretrain_gelu', 'pretrain_swiglu', 'pretrain_bidirectional', 'pretrain_plain', 'classify_pooled', 'classify_last_token']


def assert_parity(address, case):
    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN / case / 'tensors.npz').items()}
    model = get_model(address)
    x = tensors['pixel_values']
    if case.startswith('pretrain'):
        output, expected = model.backbone(x)[0], tensors['last_hidden_state']
        loss = model(x, mode='loss')['loss']
    else:
        output, expected = model(x), tensors['logits']
        loss = torch.nn.functional.cross_entropy(output, tensors['labels'])
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, tensors['loss'].float().reshape(()), atol=1e-5, rtol=0)


def assert_same_bytes(one, other):
    with safe_open(one, 'pt') as first, safe_open(other, 'pt') as second:
        assert set(first.keys()) == set(second.keys())
        for name in first.keys():
            a, b = first.get_tensor(name), second.get_tensor(name)
            assert a.dtype == b.dtype and a.shape == b.shape
            assert a.contiguous().view(torch.uint8).numpy().tobytes() == b.contiguous().view(torch.uint8).numpy().tobytes(), name


@needs_golden
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_there_and_back_again_with_the_same_outputs_at_every_stop(case, suffix, tmp_path):
    ours, published = tmp_path / f'ours{suffix}', tmp_path / f'published{suffix}'
    assert_parity(f'hf:{GOLDEN / case}', case)
    hf_to_mm(str(GOLDEN / case), ours)
    assert_parity(str(ours), case)
    mm_to_hf(str(ours), tmp_path / 'back')
    assert_parity(f'hf:{tmp_path}/back', case)
    assert_same_bytes(GOLDEN / case / 'weights.safetensors', tmp_path / 'back/model.safetensors')
    config, back = (json.loads((folder / 'config.json').read_text()) for folder in (GOLDEN / case, tmp_path / 'back'))
    assert {key: back[key] for key in config} == config
    publish(str(ours), published)
    assert_parity(str(next(tmp_path.glob('published-*'))), case)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_precision_is_kept(dtype, tmp_path):
    released = released_state_dict(randomize(NEPA(NEPAViT(**TINY))).state_dict())
    (tmp_path / 'src').mkdir()
    save_file({name: value.to(dtype) for name, value in released.items()}, tmp_path / 'src/model.safetensors')
    hf_to_mm(str(tmp_path / 'src'), tmp_path / 'a.safetensors')
    mm_to_hf(str(tmp_path / 'a.safetensors'), tmp_path / 'back')
    assert_same_bytes(tmp_path / 'src/model.safetensors', tmp_path / 'back/model.safetensors')
    assert json.loads((tmp_path / 'back/config.json').read_text())['dtype'] == str(dtype).removeprefix('torch.')


def test_a_pickle_is_what_torch_save_writes(tmp_path):
    tensors = dict(
        a=torch.randn(3, 5).t(), b=torch.tensor(2.), c=torch.zeros(0, 4), d=torch.randn(7).bfloat16(), e=torch.arange(5),
        f=torch.randn(2, 3, 4, 5).half(), g=torch.tensor([True, False]))
    write_weights(tmp_path / 'a.pth', tensors, dict(epoch=3, classes=('cat', 'dog')))
    for options in (dict(), dict(mmap=True)):
        read = torch.load(tmp_path / 'a.pth', weights_only=True, **options)
        assert read['meta'] == dict(epoch=3, classes=('cat', 'dog')) and list(read['state_dict']) == list(tensors)
        for name, value in tensors.items():
            found = read['state_dict'][name]
            assert found.dtype == value.dtype and torch.equal(found, value), name


@pytest.fixture
def training(tmp_path):
    """A classifier's checkpoint as a runner with EMAHook saves it; the average is 1 larger than the raw weights."""
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    head = LinearClsHead(3, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    raw = randomize(ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())).state_dict()
    cfg = ("default_scope = 'mmpretrain'\nmodel = dict(type='ImageClassifier', backbone=dict(type='nepa_mm.NEPAViT', "
           f"arch={TINY['arch']!r}, img_size=28, patch_size=7, causal=False, qk_norm='affine', out_type='avg_featmap', "
           "init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth')), head=dict(type='LinearClsHead', num_classes=3, "
           "in_channels=16, loss=dict(type='CrossEntropyLoss', use_soft=True)), data_preprocessor=dict(num_classes=3, "
           "mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True))\n"
           "test_dataloader = dict(dataset=dict(pipeline=[dict(type='CenterCrop', crop_size=28)]))\n")
    torch.save(dict(
        meta=dict(cfg=cfg, epoch=3, iter=30, seed=1, dataset_meta=dict(classes=('cat', 'dog', 'eel')), hook_msgs={}),
        state_dict={name: value + 1 for name, value in raw.items()},
        ema_state_dict={'steps': torch.tensor(30), **{f'module.{name}': value for name, value in raw.items()}},
        optimizer=dict(state={}, param_groups=[]), message_hub={}, param_schedulers=[]), tmp_path / 'epoch_3.pth')
    return str(tmp_path / 'epoch_3.pth'), raw


@pytest.mark.parametrize('ema', [False, True])
@pytest.mark.parametrize('name', ['mine', 'mine.safetensors', 'mine.pth'])
def test_publishing_keeps_the_weights_asked_for_and_what_is_known_of_them(training, ema, name, tmp_path):
    path, raw = training
    line = publish(path, tmp_path / 'out' / name, ema)
    file, = (tmp_path / 'out').iterdir()
    assert file.name == f'mine-{sha256(file)[:8]}{".pth" if name.endswith(".pth") else ".safetensors"}'
    kind = 'ema' if ema else 'raw'
    assert line == f'{file}: 57 tensors of {path} (classification, weights: {kind}), without optimizer and logs'
    if name.endswith('.pth'):
        published = torch.load(file, weights_only=True)
        assert set(published) == {'meta', 'state_dict'}
        meta, state_dict = published['meta'], published['state_dict']
    else:
        with safe_open(file, 'pt') as opened:
            meta = from_header(opened.metadata())
        state_dict = load_file(file)
    assert state_dict.keys() == raw.keys() and all(torch.equal(state_dict[key], raw[key] + ema) for key in raw)
    assert meta['nepa_mm'] == dict(
        version=__version__, variant='release', weights=kind, source='epoch_3.pth',
        sha256={'epoch_3.pth': sha256(tmp_path / 'epoch_3.pth')})
    assert (meta['epoch'], meta['iter'], meta['seed']) == (3, 30, 1) and "num_classes=3" in meta['cfg']
    assert list(meta['dataset_meta']['classes']) == ['cat', 'dog', 'eel']

    model = get_model(str(file))
    assert list(model.dataset_meta['classes']) == ['cat', 'dog', 'eel'] and model.head.fc.out_features == 3
    assert torch.equal(model.head.fc.bias, raw['head.fc.bias'] + ema)
    with pytest.raises(CheckpointError, match='holds no averaged weights|holds the averaged weights alone'):
        publish(str(file), tmp_path / 'out/again', not ema)
    for i, address in enumerate((f'{kind}:{file}', f'{kind}:{path}')):  # as everywhere, instead of ema
        assert publish(address, tmp_path / f'out/{i}').endswith(
            f'57 tensors of {address} (classification, weights: {kind}), without optimizer and logs')
    with pytest.raises(CheckpointError, match=r'raw: asks for its raw weights, and --ema .* \| raw:.*epoch_3.pth \| leave out'):
        publish(f'raw:{path}', tmp_path / 'out/again', True)


@pytest.mark.parametrize('ema', [False, True])
def test_a_training_becomes_released_weights(training, ema, tmp_path):
    path, raw = training
    line = mm_to_hf(path, tmp_path / 'hf', ema)
    assert line == f'{tmp_path}/hf: 69 tensors of {path} (classification, weights: {"ema" if ema else "raw"})'
    expected = released_state_dict({name: value + ema for name, value in raw.items()})
    written = load_file(tmp_path / 'hf/model.safetensors')
    assert written.keys() == expected.keys() and all(torch.equal(written[name], expected[name]) for name in expected)
    config = json.loads((tmp_path / 'hf/config.json').read_text())
    assert config['id2label'] == {'0': 'cat', '1': 'dog', '2': 'eel'} and config['qk_norm_affine'] and not config['is_causal']
    assert get_model(f'hf:{tmp_path}/hf').dataset_meta['classes'] == ['cat', 'dog', 'eel']
    with pytest.raises(ConfigError, match=r"exists and would be written over.* \| .*hf/model.safetensors"):
        mm_to_hf(path, tmp_path / 'hf', ema)


def test_a_classifier_of_several_labels_keeps_its_sigmoid(training, tmp_path):
    path, _ = training
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta']['cfg'] = checkpoint['meta']['cfg'].replace("'LinearClsHead'", "'MultiLabelLinearClsHead'").replace(
        'use_soft=True', 'use_sigmoid=True')
    torch.save(checkpoint, path)
    mm_to_hf(path, tmp_path / 'hf', ema=True)
    assert json.loads((tmp_path / 'hf/config.json').read_text())['problem_type'] == 'multi_label_classification'
    hf_to_mm(f'{tmp_path}/hf', tmp_path / 'ours.pth')
    images = torch.randn(2, 3, 28, 28)
    for address in (path, f'hf:{tmp_path}/hf', str(tmp_path / 'ours.pth')):
        model = get_model(address)
        for sample, logits in zip(model(images, mode='predict'), model(images)):
            torch.testing.assert_close(sample.pred_score, logits.sigmoid())


def test_the_release_has_no_place_for_a_segmentor_s_heads(tmp_path):
    backbone = randomize(NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='featmap'))
    weights = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    weights.update({'decode_head.conv_seg.bias': torch.ones(4), 'neck.a': torch.ones(1)})
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    line = mm_to_hf(str(tmp_path / 'a.pth'), tmp_path / 'hf')
    assert line.endswith(
        '(segmentation, weights: unknown); left out, as the release has no place for them: 2 of decode_head, neck; '
        'no preprocessor_config.json, as the checkpoint does not say how its pixels are normalised: add yours')
    model = get_model(f'hf:{tmp_path}/hf', causal=False)
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in model.backbone.state_dict().items())


def test_refusals(training, tmp_path):
    path, _ = training
    torch.save({f'blocks.{i}.norm1.weight': torch.ones(1) for i in range(7)}, tmp_path / 'mae.pth')
    paper = NEPA(NEPAViT(**TINY, with_cls_token=False, use_abs_pos_embed=True)).state_dict()
    torch.save(dict(state_dict=paper), tmp_path / 'paper.pth')
    classifier = torch.load(path, weights_only=True)['state_dict']
    torch.save(dict(state_dict={**classifier, 'neck.bn.running_mean': torch.ones(1)}), tmp_path / 'probe.pth')
    first = r"first keys: \['blocks.0.norm1.weight', .*'blocks.4.norm1.weight'\]"
    for convert, src, dst, message in [
            (hf_to_mm, 'mae.pth', 'new.pth', rf'it holds no NEPA model; {first} \| .*mae.pth'),
            (mm_to_hf, 'mae.pth', 'new', rf'it holds no NEPA model; {first} \| .*mae.pth'),
            (publish, 'mae.pth', 'new', rf'it holds no NEPA model; {first} \| .*mae.pth'),
            (mm_to_hf, 'probe.pth', 'new', r'needs the neck before it, .* \| .*probe.pth.*convert the pretraining'),
            (hf_to_mm, 'paper.pth', 'new.bin', r"new.bin' is of a kind .* \| DST \| end it in .pth or .safetensors"),
            (hf_to_mm, 'paper.pth', 'mae.pth', r"exists and would be written over.* \| .*mae.pth"),
            (mm_to_hf, 'paper.pth', 'new', r"have no place in a NEPA model: \['backbone.pos_embed'\]")]:
        with pytest.raises(UserError, match=message) as error:
            convert(str(tmp_path / src), tmp_path / dst)
        assert '\n' not in str(error.value) and error.value.exit_code == (2 if 'written over' in message else 4)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['epoch_3.pth', 'mae.pth', 'paper.pth', 'probe.pth']


def test_formats_are_not_taken_for_each_other(training, tmp_path):
    path, _ = training
    mm_to_hf(path, tmp_path / 'hf')
    for convert, src, dst, message in [
            (hf_to_mm, path, 'new.pth', r'no released checkpoint but one of ours already.* \| .*epoch_3.pth'),
            (mm_to_hf, f'{tmp_path}/hf/model.safetensors', 'new', r'it is in the released format already.* \| '
                                                                  r'.*model.safetensors'),
            (publish, f'{tmp_path}/hf/model.safetensors', 'new', 'it is in the released format already')]:
        with pytest.raises(CheckpointError, match=message):
            convert(src, tmp_path / dst)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['epoch_3.pth', 'hf']


def test_incomplete_weights_are_not_converted(tmp_path):
    complete = released_state_dict(randomize(NEPA(NEPAViT(**TINY))).state_dict())
    for lacking in ('vit_nepa.encoder.layer.1.layernorm_before.weight', 'vit_nepa.layernorm.bias'):
        (tmp_path / lacking).mkdir()
        weights = {name: value.clone() for name, value in complete.items() if name != lacking}
        save_file(weights, tmp_path / lacking / 'model.safetensors')
        with pytest.raises(CheckpointError, match=r"lacks 1 tensors that the others call for; first keys: \['backbone"):
            hf_to_mm(str(tmp_path / lacking), tmp_path / 'new.pth')


def test_a_published_file_names_no_place_of_this_machine(tmp_path):
    weights = {f'backbone.{name}': value for name, value in NEPAViT(**TINY).state_dict().items()}
    for started, told in [('/home/me/a/epoch_9.pth', 'epoch_9.pth'), ('hf:Org/nepa', 'hf:Org/nepa'), ('hf:/home/me/x', 'x')]:
        meta = dict(nepa_mm=dict(weights='raw', started_from=started))
        torch.save(dict(state_dict=weights, meta=meta), tmp_path / 'a.pth')
        publish(str(tmp_path / 'a.pth'), tmp_path / told.replace('/', '-') / 'b.pth')
        published = torch.load(next((tmp_path / told.replace('/', '-')).iterdir()), weights_only=True)
        assert published['meta']['nepa_mm']['started_from'] == told


def test_a_place_that_cannot_be_published_to_is_no_fault_of_the_checkpoint(tmp_path, training):
    (tmp_path / 'file').write_text('old')
    with pytest.raises(ConfigError, match=r'^it cannot be written \(File exists: .*file\) \| .*mine.pth \| choose'):
        publish(training[0], tmp_path / 'file/mine.pth')
    assert (tmp_path / 'file').read_text() == 'old'


def test_the_tools(tmp_path, training):
    tools = ROOT / 'tools/model_converters'

    def run(tool, *args):
        return start(tmp_path, tools / tool, *args)

    assert run('nepa_mm_to_hf.py', training[0], 'hf', '--ema')[1] == (
        f'hf: 69 tensors of {training[0]} (classification, weights: ema)\n')
    assert run('nepa_hf_to_mm.py', 'hf', 'made/new.safetensors')[1] == (
        'made/new.safetensors: 57 tensors of hf/model.safetensors (classification, release variant, weights: as published)\n')
    code, said = run('publish_model.py', training[0], 'made/mine')
    assert code == 0 and said.startswith('made/mine-')
    code, said = run('nepa_hf_to_mm.py', 'Org/nowhere', 'x.pth')
    assert code == 4 and said.count('\n') == 1
    assert re.match('nepa_mm: error: there is no such folder, and the Hugging Face hub did not .* hf:Org/nowhere', said)


def test_a_published_pickle_is_a_whole_zip_file_and_a_function_of_the_weights(training, tmp_path):
    path, _ = training
    digests = set()
    for name in ('one', 'another'):
        publish(path, tmp_path / name / f'{name}.pth')
        file, = (tmp_path / name).iterdir()
        with ZipFile(file) as archive:
            assert archive.testzip() is None  # what `python -m zipfile -t` asks
        check_whole(file)
        digests.add(sha256(file))
    assert len(digests) == 1
    publish(path, tmp_path / 'ema/one.pth', ema=True)
    assert sha256(*(tmp_path / 'ema').iterdir()) not in digests


def test_a_checkpoint_of_a_training_is_a_whole_zip_file(tmp_path):
    write_checkpoint(dict(state_dict=dict(a=torch.randn(300, 3))), tmp_path / 'epoch_1.pth')
    with ZipFile(tmp_path / 'epoch_1.pth') as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_published_file_holds_no_path_of_this_machine(training, suffix, tmp_path):
    checkpoint = torch.load(training[0], weights_only=True)
    checkpoint['meta']['cfg'] += ("work_dir = '/home/me/runs/a'\nload_from = 'ema:/home/me/b.pth'\n"
                                  "vis = dict(root='~/data', scale=(1, 2), name='a/b')\n")
    torch.save(checkpoint, tmp_path / 'a.pth')
    publish(str(tmp_path / 'a.pth'), tmp_path / f'out/mine{suffix}')
    file, = (tmp_path / 'out').iterdir()
    content = file.read_bytes()
    assert not [word for word in (b'/home', b'~/', str(tmp_path).encode()) if word in content]
    assert b"work_dir = 'a'" in content and b"'name': 'a/b'" in content and b"(1, 2, )" in content
    assert get_model(str(file)).head.fc.out_features == 3


def test_a_folder_names_no_place_of_this_machine(training, tmp_path):
    """transformers notes in ``config.json`` where it read one, and the record of a conversion keeps that file."""
    checkpoint = torch.load(training[0], weights_only=True)
    checkpoint['meta']['nepa_mm'] = dict(source='hf:/home/me/nepa', config=dict(_name_or_path='/home/me/nepa', kept='a/b'))
    torch.save(checkpoint, tmp_path / 'a.pth')
    mm_to_hf(str(tmp_path / 'a.pth'), tmp_path / 'hf')
    config = json.loads((tmp_path / 'hf/config.json').read_text())
    assert (config['_name_or_path'], config['kept']) == ('nepa', 'a/b')
    assert not [file.name for file in (tmp_path / 'hf').iterdir() if b'/home' in file.read_bytes()]
