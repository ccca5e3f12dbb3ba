import json

import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.release.released_files import find_released
from nepa_mm.errors import CheckpointError
from tiny import TINY, randomize

CONFIG = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
    patch_size=7, qk_norm=True)
HUB = 'models--Org--nepa'


def released(seed=0):
    torch.manual_seed(seed)
    return {name: value.clone() for name, value in released_state_dict(randomize(NEPA(NEPAViT(**TINY))).state_dict()).items()}


@pytest.fixture
def folder(tmp_path):
    save_file(released(), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
    return tmp_path


def weights(address):
    return CheckpointLoader.load_checkpoint(address)['state_dict']


def test_a_folder_a_file_and_the_average_beside_it(folder):
    torch.save(released(seed=1), folder / 'pytorch_model_ema.bin')
    raw, average = (released(seed)['vit_nepa.layernorm.weight'] for seed in (0, 1))
    for address in (f'hf:{folder}', f'hf:{folder}/model.safetensors', f'raw:hf:{folder}', f'{folder}/model.safetensors'):
        assert torch.equal(weights(address)['backbone.norm.weight'], raw), address
    for address in (f'ema:hf:{folder}', f'hf:{folder}/pytorch_model_ema.bin', f'{folder}/pytorch_model_ema.bin'):
        assert torch.equal(weights(address)['backbone.norm.weight'], average), address
    with pytest.raises(CheckpointError, match='averaged weights are in pytorch_model_ema.bin'):
        weights(f'ema:hf:{folder}/model.safetensors')


def test_what_is_not_there(tmp_path):
    for address, message in [(f'hf:{tmp_path}', r'no model.safetensors there, but .* \| give a released checkpoint'),
                             (f'ema:hf:{tmp_path}', 'no pytorch_model_ema.bin there'),
                             (f'hf:{tmp_path}/no/where', r'no such folder \| hf:.*/no/where \| .* ORG/NAME or ORG/NAME@REVISION'),
                             (f'{tmp_path}', r'^it is a folder \| .*; the address of a released checkpoint is hf:')]:
        with pytest.raises(CheckpointError, match=message) as error:
            weights(address)
        assert '\n' not in str(error.value)


def test_a_copy_by_another_name_as_long_as_there_is_no_doubt(tmp_path):
    save_file(released(), tmp_path / 'copy.safetensors')
    assert find_released(str(tmp_path)).weights.name == 'copy.safetensors'
    save_file(released(), tmp_path / 'another.safetensors')
    with pytest.raises(CheckpointError, match='no model.safetensors there'):
        find_released(str(tmp_path))


def test_config_of_another_model(folder):
    for text, message in [(json.dumps({**CONFIG, 'model_type': 'vit'}), r"'vit' in config.json is not 'vit_nepa'.* \| "
                                                                        r".*model_type"),
                          ('[]', r'None in config.json.* \| '
                                 r'.*model_type'), ('{', r'no JSON.* \| .*config.json'), ('', 'is empty')]:
        (folder / 'config.json').write_text(text)
        with pytest.raises(CheckpointError, match=message):
            find_released(f'hf:{folder}')


def test_without_config_the_shapes_are_asked_and_it_is_said(folder, monkeypatch):
    said = []
    monkeypatch.setattr('nepa_mm.checkpoints.model_config.print_log', lambda message, *_: said.append(message))
    expected = get_model(f'hf:{folder}', arch=TINY['arch'])
    (folder / 'config.json').unlink()
    model = get_model(f'hf:{folder}', arch=TINY['arch'])
    assert said == [f'hf:{folder} has no config.json: sizes are taken from the shapes of the weights, and what no shape shows is '
                    "assumed, causal=True, act='gelu', rope={'theta': 100.0, 'rescale': 2.0}, norm_eps=1e-12, img_size=112, "
                    "qk_norm='plain', num_heads=1"]
    x = torch.randn(2, 3, 28, 28)
    assert torch.equal(model(x, mode='loss')['loss'], expected(x, mode='loss')['loss'])


def hub_cache(folder, monkeypatch, offline):
    """A repository as huggingface_hub keeps it: files are links to blobs, outside the snapshot's folder."""
    import huggingface_hub.constants
    (folder / HUB / 'blobs').mkdir(parents=True)
    for revision, seed in (('main', 0), ('init', 1)):
        snapshot = folder / HUB / 'snapshots' / (str(seed) * 40)
        snapshot.mkdir(parents=True)
        save_file(released(seed), folder / HUB / 'blobs' / f'weights{seed}')
        (folder / HUB / 'blobs' / f'config{seed}').write_text(json.dumps(CONFIG))
        (snapshot / 'model.safetensors').symlink_to(f'../../blobs/weights{seed}')
        (snapshot / 'config.json').symlink_to(f'../../blobs/config{seed}')
        (folder / HUB / 'refs').mkdir(exist_ok=True)
        (folder / HUB / 'refs' / revision).write_text(str(seed) * 40)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(folder))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', offline)


def test_a_repository_in_the_cache_needs_no_network(tmp_path, monkeypatch):
    hub_cache(tmp_path, monkeypatch, offline=True)
    for address, seed in (('hf:Org/nepa', 0), ('hf:Org/nepa@init', 1), ('hf:Org/nepa@' + '1' * 40, 1)):
        assert torch.equal(weights(address)['backbone.norm.weight'], released(seed)['vit_nepa.layernorm.weight']), address
    with pytest.raises(CheckpointError, match=r'there is no such folder, and the Hugging Face hub did not give it.* \| '
                                              r'hf:Org/other'):
        weights('hf:Org/other')


def test_hub_out_of_reach_is_one_line(monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise ConnectionError('no route to host\nmore')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', refuse)
    with pytest.raises(CheckpointError, match=r'there is no such folder, .* \(no route to host\) \| hf:Org/name \| '
                                              r'check') as error:
        find_released('hf:Org/name')
    assert '\n' not in str(error.value)
