"""What is kept: the best checkpoint of a fine-tuning, by the accuracy of the average; and what a checkpoint is loaded into."""
from itertools import count

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.engine import ReliableRunner
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.version import __version__
from tiny import ROOT, TINY, Images, randomize

SCORES = [50., 80., 60., 70.]  # of the average after each epoch


class Labelled(Images):

    def __getitem__(self, index):
        return dict(super().__getitem__(index), data_samples=DataSample().set_gt_label(index % 2))


class Told(BaseMetric):
    """Accuracies that are told, the average's and the raw weights', which get ever better; and the bias that was scored."""
    default_prefix = 'accuracy'

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        self.seen.append(self.model.head.fc.bias.detach().clone())
        epoch, is_raw = divmod(len(self.seen) - 1, 2)
        return dict(top1=90. + epoch if is_raw else SCORES[epoch])


def train(folder, **settings):
    """With the hooks of the fine-tuning config; the metric that scored it."""
    cfg = Config.fromfile(ROOT / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py')
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, **settings)
    torch.manual_seed(0)
    model = ImageClassifier(
        NEPAViT(**TINY, out_type='avg_featmap'), head=LinearClsHead(2, 16, loss=dict(type='mmpretrain.CrossEntropyLoss')),
        data_preprocessor=ClsDataPreprocessor())
    metric = Told(model)
    loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=Labelled(),
                  collate_fn=default_collate)
    ReliableRunner(
        model=model, work_dir=str(folder), train_dataloader=loader, val_dataloader=loader, val_cfg=dict(),
        val_evaluator=Evaluator([metric]), train_cfg=dict(by_epoch=True, max_epochs=len(SCORES)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)), custom_hooks=cfg.custom_hooks,
        default_hooks=dict(checkpoint=cfg.default_hooks.checkpoint), randomness=dict(seed=0), experiment_name=folder.name,
        default_scope='mmpretrain').train()
    return metric


def test_fine_tuning_keeps_the_average_that_was_best(tmp_path):
    metric = train(tmp_path)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['best_accuracy_top1_epoch_2.pth', 'epoch_4.pth']
    best = read_checkpoint(tmp_path / 'best_accuracy_top1_epoch_2.pth')
    average, raw = metric.seen[2:4]
    assert not torch.equal(average, raw)
    assert torch.equal(best['state_dict']['head.fc.bias'], average)
    assert torch.equal(best['ema_state_dict']['module.head.fc.bias'], raw)  # as mmengine swaps them


def test_a_best_by_no_metric_of_the_validation_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'accuracy/top5' is no metric .* has \['accuracy/top1'\] \| .*checkpoint.save_best"):
        train(tmp_path, save_best='accuracy/top5')


NUMBERS = count()  # mmengine's runners need names of their own
HOOKS = dict(fit_checkpoint=dict(type='nepa_mm.FitCheckpointHook'), checkpoint_record=dict(type='nepa_mm.CheckpointRecordHook'))


class Classifier(ImageClassifier):

    def __init__(self, **kwargs):
        backbone = NEPAViT(**TINY, qk_norm='affine', out_type='avg_featmap', **kwargs)
        head = LinearClsHead(3, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
        super().__init__(backbone, head=head, data_preprocessor=ClsDataPreprocessor())

    def train_step(self, data, optim_wrapper):
        loss = self(data).square().mean()
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


def runner(folder, hooks=HOOKS, **kwargs):
    loader = DataLoader(torch.randn(4, 3, 28, 28), batch_size=2)
    train = dict(
        train_dataloader=loader, train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
    return Runner(
        Classifier(), str(folder / 'work'), experiment_name=f'test{next(NUMBERS)}', default_hooks=hooks,
        **train, **kwargs)


@pytest.fixture
def pretrained(tmp_path):
    model = randomize(NEPA(NEPAViT(**TINY)))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    return str(tmp_path / 'pretrained.pth')


def logged(folder):
    return '\n'.join(path.read_text() for path in (folder / 'work').glob('*/*.log'))


def test_load_from_names_what_it_creates_once_though_the_average_loads_it_too(tmp_path, pretrained):
    run = runner(tmp_path, load_from=pretrained, custom_hooks=[dict(type='EMAHook')])
    run.train()
    assert 'learn anew' not in logged(tmp_path)
    line = (f'{pretrained}: 47 of 47 backbone tensors loaded; created: 6 affine QK-norm weights as ones, 2 of fc_norm as the '
            'identity, head (2) at random; ignored: nothing')
    assert logged(tmp_path).count(line) == 1 == logged(tmp_path).count('backbone tensors loaded')


def test_a_head_of_other_classes_is_a_warning_with_its_key(tmp_path, pretrained):
    state = Classifier().state_dict()
    state.update({'head.fc.weight': torch.zeros(5, 16), 'head.fc.bias': torch.zeros(5)})
    torch.save(dict(state_dict=state), pretrained)
    runner(tmp_path, load_from=pretrained, cfg=dict(model=dict(head=dict(num_classes=3)))).train()
    line, = (line for line in logged(tmp_path).splitlines() if 'WARNING' in line and 'at random' in line)
    assert line.endswith(f'{pretrained}: head.fc.weight at random for 3 classes (5 there), head.fc.bias at random for 3 classes '
                         '(5 there), as it has other classes than model.head.num_classes=3; these weights learn anew')


def test_a_backbone_without_the_hook_says_its_part(tmp_path, pretrained):
    runner(tmp_path, load_from=pretrained, hooks={}, custom_hooks=[dict(type='EMAHook')]).train()
    assert logged(tmp_path).count(f'{pretrained}: 47 of 47 backbone tensors loaded; created: 6 affine') == 1


def test_a_checkpoint_tells_what_it_is_and_resumes(tmp_path, pretrained):
    runner(tmp_path, load_from=pretrained, custom_hooks=[dict(type='EMAHook')]).train()
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    assert saved['meta']['nepa_mm'] == dict(
        version=__version__, variant='release', weights='ema', started_from=pretrained,
        settings=dict(num_heads=2, qk_norm=True, act='gelu', rope_theta=100., norm_eps=1e-12))
    again = runner(tmp_path, load_from=str(tmp_path / 'work/epoch_1.pth'), resume=True, custom_hooks=[dict(type='EMAHook')])
    again.train()
    assert 'epoch_1.pth: 55 of 55 backbone tensors loaded; created: nothing; ignored: nothing' in logged(tmp_path)


def test_a_resumed_training_tells_what_it_began_from(tmp_path, pretrained):
    runner(tmp_path, load_from=pretrained).train()
    again = runner(tmp_path, load_from=str(tmp_path / 'work/epoch_1.pth'), resume=True)
    again._train_loop['max_epochs'] = 2
    again.train()
    assert torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)['meta']['nepa_mm']['started_from'] == pretrained


def test_a_resumed_training_needs_every_weight(tmp_path):
    runner(tmp_path).train()
    path = tmp_path / 'work/epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    saved['state_dict'] = {name: value for name, value in saved['state_dict'].items() if 'fc_norm' not in name}
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=r'^a resumed training needs every weight, .*: 2 of fc_norm as the identity \| '):
        runner(tmp_path, load_from=str(path), resume=True).train()


def test_a_resumed_training_is_of_the_same_model(tmp_path):
    runner(tmp_path).train()
    path = tmp_path / 'work/epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    saved['state_dict']['neck.a'] = torch.ones(1)
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=r'a resumed training needs the same model, and here would be neck \(1\)'):
        runner(tmp_path, load_from=str(path), resume=True).train()


def test_weights_alone_are_no_training_to_resume(tmp_path, pretrained):
    with pytest.raises(CheckpointError, match=r'weights alone, no state of a training to resume.* \| .*pretrained.pth \| '
                                              r'start a new one'):
        runner(tmp_path, load_from=pretrained, resume=True).train()


def test_weights_may_be_loaded_by_hand_before_training(tmp_path, pretrained):
    run = runner(tmp_path)
    run.load_checkpoint(pretrained)
    assert 'head (2) at random' in logged(tmp_path)


def test_a_record_asks_for_no_config(tmp_path):
    run = runner(tmp_path, custom_hooks=[dict(type='EMAHook')])
    run.model.backbone.init_cfg = [dict(type='TruncNormal', layer='Linear')]
    run.train()
    assert torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)['meta']['nepa_mm']['variant'] == 'release'
