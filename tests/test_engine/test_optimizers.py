"""Optimizers beside AdamW, and what constructors say about their arguments."""
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import ReliableRunner
from nepa_mm.errors import ConfigError
from nepa_mm.launch.naming_errors import naming
from tiny import TINY, Images, Nearer, Numbers

MUON = dict(type='timm.optim.Muon', lr=1e-3, weight_decay=0.05)


def test_muon_of_timm_trains_with_the_groups_of_the_recipes_and_resumes_to_the_same_bits(tmp_path):

    def train(name, epochs=2, **kwargs):
        torch.manual_seed(0)
        model = NEPA(NEPAViT(**TINY), data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3))
        runner = ReliableRunner(
            model, str(tmp_path / name), train_dataloader=dict(
                batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=Images(),
                collate_fn=dict(type='default_collate')),
            train_cfg=dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=epochs), randomness=dict(seed=1),
            optim_wrapper=dict(optimizer=MUON, constructor='nepa_mm.LayerDecayOptimWrapperConstructor'),
            default_scope='mmpretrain', experiment_name=f'{tmp_path.name}{name}{len(kwargs)}', **kwargs)
        runner.train()
        return runner

    whole = train('whole')
    states = whole.optim_wrapper.optimizer.state_dict()['state'].values()
    kinds = {tuple(sorted(state)) for state in states}
    assert any('momentum_buffer' in kind for kind in kinds) and any('exp_avg' in kind for kind in kinds)
    resumed = train('resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    for name, value in whole.model.state_dict().items():
        assert value.isfinite().all() and torch.equal(value, resumed.model.state_dict()[name]), name


class Raises:
    """An argument that a constructor refuses in its own way."""
    error = None

    def __init__(self, rate=1):
        raise self.error


@pytest.mark.parametrize('optimizer, where', [
    (dict(type='AdamW', lr=1e-3, foreach=True, fused=True), 'optim_wrapper.optimizer.foreach and optim_wrapper.optimizer.fused'),
    (dict(type='AdamW', lr=1e-3, betas=(1.5, 0.9)), 'optim_wrapper.optimizer'),
    (dict(type='AdamW', lr=-1.), 'optim_wrapper.optimizer.lr'),
    (dict(type='SGD', lr=1e-3, nesterov=True), 'optim_wrapper.optimizer'),
    (dict(type='timm.optim.Muon', lr=1e-3, algo='x'), 'optim_wrapper.optimizer.algo')])
def test_what_an_optimizer_s_constructor_refuses_is_one_line(optimizer, where):
    cfg = Config(dict(optim_wrapper=dict(optimizer=optimizer)))
    with pytest.raises(ConfigError, match='cannot be built: ') as error, naming(cfg):
        build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper)
    assert error.value.where == where, error.value


@pytest.mark.parametrize('kind', [RuntimeError, ValueError, TypeError, ImportError, AttributeError, NotImplementedError])
def test_whatever_a_constructor_raises_is_one_line_and_what_a_step_raises_is_not(kind):
    from mmengine.registry import MODELS
    cfg = Config(dict(model=dict(type='RaisesInTest', rate=7)))
    Raises.error = kind('rate is too much')
    MODELS.register_module(name='RaisesInTest', module=Raises, force=True)
    with pytest.raises(ConfigError, match='cannot be built: rate is too much') as error, naming(cfg):
        MODELS.build(cfg.model)
    assert error.value.where == 'model.rate'
    with pytest.raises(kind, match='in a step'), naming(cfg):
        raise kind('in a step')
    Raises.error = torch.cuda.OutOfMemoryError('not an argument')
    with pytest.raises(torch.cuda.OutOfMemoryError), naming(cfg):
        MODELS.build(cfg.model)


class TwoModes(torch.optim.SGD):
    """As those of schedulefree."""

    def train(self):
        """Weights to train."""

    def eval(self):
        """Weights to use."""


def test_one_that_exchanges_weights_is_refused(tmp_path):
    runner = ReliableRunner(
        Nearer([]), str(tmp_path), train_cfg=dict(by_epoch=True, max_epochs=1), experiment_name=tmp_path.name,
        train_dataloader=dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=Numbers(serialize_data=False)),
        optim_wrapper=dict(optimizer=dict(type=TwoModes, lr=0.1)))
    with pytest.raises(ConfigError, match=r'TwoModes exchanges the weights .* \| optim_wrapper.optimizer.type \| '):
        runner.train()
