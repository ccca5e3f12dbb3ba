"""Safetensors as others read them, and indices that name files which are none of their business."""
import json
import os
from pathlib import Path

import forks
import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.convert import hf_to_mm
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.checkpoints.storage.safetensors_files import ComputedTensors, LazyTensors, dtype_in_files, shards, write_safetensors
from nepa_mm.errors import CheckpointError
from tiny import ROOT, TINY, randomize

CONFIG = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
    patch_size=7, qk_norm=True, layerscale_value=1e-5)

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool]


def same_bytes(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(
        one.contiguous().reshape(-1).view(torch.uint8), other.contiguous().reshape(-1).view(torch.uint8))


def of_bytes(dtype, *shape):
    """Tensor of any bit patterns, those of NaN too."""
    if dtype == torch.bool:
        return torch.randint(2, shape).bool()
    count = torch.Size(shape).numel() * dtype.itemsize
    return torch.randint(256, (count, ), dtype=torch.uint8).view(dtype).view(shape)


@pytest.mark.parametrize('dtype', DTYPES)
def test_others_read_what_is_written(dtype, tmp_path):
    tensors = {f'{"x".join(map(str, shape))}.weight': of_bytes(dtype, *shape)
               for shape in [(1, ), (3, ), (2, 3, 5), (1, 1, 7, 1), (0, ), (3, 0, 2), ()]}
    write_safetensors(tmp_path / 'a.safetensors', tensors, {})
    read = load_file(tmp_path / 'a.safetensors')
    assert read.keys() == tensors.keys() and all(same_bytes(read[name], value) for name, value in tensors.items())


def test_a_file_of_all_kinds_at_once(tmp_path):
    tensors = {str(dtype): of_bytes(dtype, i + 1, 3) for i, dtype in enumerate(DTYPES)}
    transposed, sliced, expanded = torch.randn(5, 3).t(), torch.randn(9, 4)[::2, 1:3], torch.randn(1).expand(4, 2)
    tensors |= {'transposed': transposed, 'sliced': sliced, 'expanded': expanded, 'parameter': torch.nn.Parameter(torch.randn(3)),
                'names "quoted"\n, ümläut \\ and longer than any': torch.ones(1), '': torch.zeros(2)}
    metadata = {'format': 'pt', 'text': '{"a": "ü"}\n'}
    path = tmp_path / 'a.safetensors'
    write_safetensors(path, tensors, metadata)
    read = load_file(path)
    assert read.keys() == tensors.keys() and all(same_bytes(read[name], value.detach()) for name, value in tensors.items())
    with safe_open(path, framework='pt') as file:
        assert file.metadata() == metadata
    size = int.from_bytes(path.read_bytes()[:8], 'little')
    header = json.loads(path.read_bytes()[8:8 + size])
    assert size % 8 == 0  # the data is aligned
    for name, entry in header.items():
        if name != '__metadata__':
            assert entry['data_offsets'][0] % tensors[name].element_size() == 0, name


def test_nothing_but_metadata(tmp_path):
    write_safetensors(tmp_path / 'a.safetensors', {}, {'format': 'pt'})
    assert load_file(tmp_path / 'a.safetensors') == {}
    assert read_checkpoint(tmp_path / 'a.safetensors') == dict(state_dict={}, metadata={'format': 'pt'})


@pytest.mark.parametrize('dtype', [torch.complex128, torch.complex32])
def test_a_kind_that_it_does_not_write_is_named(dtype, tmp_path):
    with pytest.raises(CheckpointError, match=rf"^safetensors [\d.]+ have no place for {dtype} \| tensor 'layers\.0\.x'"):
        write_safetensors(tmp_path / 'a.safetensors', {'layers.0.x': torch.zeros(3, dtype=dtype)}, {})


@pytest.mark.parametrize('dtype', ['float8_e4m3fn', 'float8_e5m2', 'float4_e2m1fn_x2', 'complex64', 'uint16'])
def test_kinds_that_the_installed_safetensors_write(dtype, tmp_path):
    """The library is asked, release by release; what it packs, two numbers in a byte, it reads as it was."""
    dtype = getattr(torch, dtype, None)
    if dtype is None or dtype_in_files(dtype) is None:
        pytest.skip('not in this PyTorch or safetensors')
    tensors = {'a': of_bytes(dtype, 4, 2), 'b': of_bytes(dtype, 3)}
    write_safetensors(tmp_path / 'a.safetensors', tensors, {})
    save_file(tensors, tmp_path / 'b.safetensors')
    ours, theirs = (load_file(tmp_path / f'{name}.safetensors') for name in 'ab')
    assert all(same_bytes(ours[name], tensors[name]) and same_bytes(theirs[name], ours[name]) for name in tensors)


def test_a_tensor_by_the_name_of_the_metadata_is_not_lost(tmp_path):
    with pytest.raises(CheckpointError, match='__metadata__'):
        write_safetensors(tmp_path / 'a.safetensors', {'__metadata__': torch.ones(1)}, {'format': 'pt'})


def test_lazy_tensors_are_a_mapping(tmp_path):
    tensors = {'b': torch.randn(3, 2), 'a': torch.randn(1).to(torch.bfloat16)}
    save_file(tensors, tmp_path / 'a.safetensors', {'format': 'pt', 'nepa_mm': '{}'})
    lazy = LazyTensors(tmp_path / 'a.safetensors')
    assert lazy.files == [tmp_path / 'a.safetensors'] and lazy.metadata == {'format': 'pt', 'nepa_mm': '{}'}
    assert len(lazy) == 2 and set(lazy) == {'a', 'b'} and 'a' in lazy and 'c' not in lazy
    assert all(torch.equal(lazy[name], value) and lazy[name].dtype == value.dtype for name, value in tensors.items())
    with pytest.raises(KeyError):
        lazy['c']
    save_file(tensors, tmp_path / 'plain.safetensors')
    assert LazyTensors(tmp_path / 'plain.safetensors').metadata == {}


def test_computed_tensors_are_computed_when_asked_for():
    asked = []
    computed = ComputedTensors({'a': lambda: asked.append('a') or torch.ones(2), 'b': lambda: asked.append('b')})
    assert len(computed) == 2 and list(computed) == ['a', 'b'] and asked == []
    assert 'b' in computed and 'c' not in computed and asked == []
    assert torch.equal(computed['a'], torch.ones(2)) and asked == ['a']


@pytest.fixture
def released(tmp_path):
    """A tiny released checkpoint in two files, and its weights."""
    folder = tmp_path / 'released'
    folder.mkdir()
    weights = released_state_dict(randomize(NEPA(NEPAViT(**TINY))).state_dict())
    weights = {name: value.contiguous() for name, value in weights.items()}
    names = sorted(weights)
    place = {name: f'model-0000{1 + i % 2}-of-00002.safetensors' for i, name in enumerate(names)}
    for file in set(place.values()):
        save_file({name: weights[name] for name in names if place[name] == file}, folder / file, {'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps(CONFIG))
    write_index(folder, place)
    return folder, weights


def write_index(folder, weight_map):
    content = weight_map if isinstance(weight_map, str) else json.dumps(dict(metadata=dict(total_size=1), weight_map=weight_map))
    (folder / 'model.safetensors.index.json').write_text(content)


def test_a_checkpoint_in_two_files_is_read_as_one(released, tmp_path):
    folder, weights = released
    index = folder / 'model.safetensors.index.json'
    assert [file.name for file in shards(index)] == [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
    read = read_checkpoint(index)
    assert read['metadata'] == {'format': 'pt'} and read['state_dict'].keys() == weights.keys()
    assert all(torch.equal(read['state_dict'][name], value) for name, value in weights.items())
    lazy = LazyTensors(index)
    assert set(lazy) == set(weights) and all(torch.equal(lazy[name], value) for name, value in weights.items())
    model = get_model(f'hf:{folder}')
    assert torch.equal(model.backbone.patch_embed.weight, weights['vit_nepa.embeddings.patch_embeddings.projection.weight'])
    assert '47 tensors of' in hf_to_mm(str(folder), tmp_path / 'ours.safetensors')
    assert len(load_file(tmp_path / 'ours.safetensors')) == 47


def test_files_of_a_cache_are_links_to_elsewhere(released, tmp_path):
    """As huggingface_hub keeps them: snapshots/REVISION/NAME points to blobs/DIGEST."""
    folder, weights = released
    snapshot = tmp_path / 'models--org--name/snapshots/main'
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert read_checkpoint(snapshot / 'model.safetensors.index.json')['state_dict'].keys() == weights.keys()
    assert isinstance(get_model(f'hf:{snapshot}'), NEPA)


BAD_NAMES = {
    '../secret.safetensors': 'is not a file in its folder; refused',
    '../released/../secret.safetensors': 'is not a file in its folder; refused',
    './model.safetensors': 'is not a file in its folder; refused',
    'sub/secret.safetensors': 'is not a file in its folder; refused',
    'sub\\secret.safetensors': 'is not a file in its folder; refused',
    '..\\secret.safetensors': 'is not a file in its folder; refused',
    '/etc/passwd': 'is not a file in its folder; refused',
    'C:\\secret.safetensors': 'is not a file in its folder; refused',
    '//host/secret.safetensors': 'is not a file in its folder; refused',
    '..': 'which is not ',
    '.': 'which is not ',
    '': 'which is not ',
    'sub': 'which is not there',
    'gone.safetensors': 'which is not there',
    'a\0.safetensors': 'which is not there',
    'a\n.safetensors': 'which is not there',
}


def assert_refused(folder, message, tmp_path):
    """In every way to it: one line with the file that is wrong."""
    index = folder / 'model.safetensors.index.json'
    ways = [lambda: read_checkpoint(index), lambda: CheckpointLoader.load_checkpoint(str(index)),
            lambda: CheckpointLoader.load_checkpoint(f'hf:{folder}'), lambda: get_model(f'hf:{folder}'),
            lambda: hf_to_mm(str(folder), tmp_path / 'new.safetensors')]
    for way in ways:
        with pytest.raises(CheckpointError) as error:
            way()
        line = str(error.value)
        assert str(folder) in line and message in line and '\n' not in line, line
    assert not (tmp_path / 'new.safetensors').exists()


@pytest.mark.parametrize('name', BAD_NAMES)
def test_an_index_names_files_in_its_folder_alone(name, released, tmp_path):
    folder, weights = released
    (folder / 'sub').mkdir()
    for place in (tmp_path, folder / 'sub'):
        save_file(weights, place / 'secret.safetensors')
    write_index(folder, {next(iter(weights)): 'model-00001-of-00002.safetensors', 'a': name})
    assert_refused(folder, f'it names {name!r}, which ', tmp_path)
    assert_refused(folder, BAD_NAMES[name], tmp_path)


@pytest.mark.parametrize('content', [
    'no json', '', ' ', '[]', 'null', '5', '{}', '{"weight_map": []}', '{"weight_map": null}', '{"weight_map": "model"}',
    '{"weight_map": {"a": 5}}', '{"weight_map": {"a": null}}', '{"weight_map": {"a": ["model"]}}', '{"weight_map": {"a": {}}}',
    '{"weight_map": {"a": "b", "c": 5}}', '{"weight_map": {"a": ', '{"weight_map": {}}', '[' * 100000, '{"a":' * 100000,
    '{"weight_map": {"a": ' + '1' * 5000 + '}}'])
def test_an_index_that_is_none_is_refused(content, released, tmp_path):
    folder, _ = released
    write_index(folder, content)
    assert_refused(folder, 'model.safetensors.index.json', tmp_path)


def test_an_index_that_names_itself_or_a_pickle_is_refused(released, tmp_path):
    folder, weights = released
    torch.save(weights, folder / 'model.bin')
    for name in ('model.safetensors.index.json', 'model.bin', 'config.json'):
        write_index(folder, {'a': name})
        assert_refused(folder, 'cannot be read as weights', tmp_path)


def test_an_index_of_a_file_that_is_cut_is_refused(released, tmp_path):
    folder, _ = released
    part = folder / 'model-00002-of-00002.safetensors'
    content = part.read_bytes()
    for size in (len(content) - 1, 100, 0):
        part.write_bytes(content[:size])
        assert_refused(folder, part.name, tmp_path)


def test_weights_that_an_index_lacks_are_missed(released):
    folder, weights = released
    write_index(folder, {next(iter(weights)): 'model-00001-of-00002.safetensors'})
    with pytest.raises(CheckpointError) as error:
        get_model(f'hf:{folder}')
    assert '\n' not in str(error.value)


def test_the_tool_refuses_an_index_that_points_outside(released, tmp_path):
    folder, weights = released
    save_file(weights, tmp_path / 'secret.safetensors')
    write_index(folder, {'a': '../secret.safetensors'})
    before = sorted(os.listdir(tmp_path))
    done = forks.done(ROOT / 'tools/model_converters/nepa_hf_to_mm.py', folder, tmp_path / 'new.pth', folder=tmp_path)
    line, = done.stderr.strip().splitlines()
    index = Path(folder) / 'model.safetensors.index.json'
    assert done.returncode == 4 and not done.stdout and line == (
        f"nepa_mm: error: it names '../secret.safetensors', which is not a file in its folder; refused | {index} | "
        f"download it again")
    assert sorted(os.listdir(tmp_path)) == before
