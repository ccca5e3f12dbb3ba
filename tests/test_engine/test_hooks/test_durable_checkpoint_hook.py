"""The best checkpoint of a fine-tuning: by the accuracy of the average, kept whatever comes after it."""
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.evaluator import BaseMetric, Evaluator
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from mmpretrain.structures import DataSample

from nepa_mm import NEPAViT
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.engine import ReliableRunner
from nepa_mm.errors import ConfigError
from tiny import ROOT, TINY, Images

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
