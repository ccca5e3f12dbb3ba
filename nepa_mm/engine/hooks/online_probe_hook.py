"""How well labels can be read from the features, while they are learned without labels."""
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.models import PackedNEPA
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.registry import HOOKS

STATE = 'nepa_mm_online_probe'  # in a checkpoint


@HOOKS.register_module()
class OnlineProbeHook(Hook):
    """Train a linear classifier on what the model puts out at the patches, and log its top-1 as ``probe_top1``, in percent.

    Features are the mean of the outputs [B, L, D] over the patches, of the last batch of each step, and constants to the
    classifier's loss: the pretraining stays the same to the bit, and so do its random numbers. Each batch is predicted before it
    is learned, so the accuracy is of images that the classifier has not seen in this epoch. In several processes all hold the
    same classifier. It goes into checkpoints and is resumed.

    Args:
        num_classes: Classes of the training data, which must have labels.
        lr: Learning rate of its AdamW.
        weight_decay: Weight decay of its AdamW.

    Raises:
        ConfigError: For fewer than two classes, or a model that is no :class:`NEPA`, or a :class:`PackedNEPA`.
        DataError: For images without a label, or with one out of range.
    """

    def __init__(self, num_classes: int, lr: float = 1e-3, weight_decay: float = 0.) -> None:
        if num_classes < 2:
            raise ConfigError(f'{num_classes!r} classes cannot be told apart', 'OnlineProbeHook.num_classes', 'give 2 or more')
        self.num_classes, self.optimizer_settings, self.saved = num_classes, dict(lr=lr, weight_decay=weight_decay), None

    def before_train(self, runner: Runner) -> None:
        """Make the classifier, or go on with that of the checkpoint, and look at what the loss is given."""
        model = unwrapped(runner.model)
        # The loss of PackedNEPA is given one image at a time
        if isinstance(model, PackedNEPA) or not hasattr(model, 'head') or not hasattr(model.backbone, 'predict'):
            raise ConfigError(f'OnlineProbeHook needs NEPA, not {type(model).__name__}', 'custom_hooks', 'leave the hook out')
        self.num_extra_tokens = model.backbone.num_extra_tokens
        self.classifier = nn.utils.skip_init(nn.Linear, model.backbone.embed_dims, self.num_classes)  # draws nothing
        for parameter in self.classifier.parameters():
            nn.init.zeros_(parameter)
        self.classifier.to(next(model.parameters()).device)
        self.optimizer = torch.optim.AdamW(self.classifier.parameters(), **self.optimizer_settings)
        if self.saved is not None:
            self.classifier.load_state_dict(self.saved['classifier'])
            self.optimizer.load_state_dict(self.saved['optimizer'])
        self.handle = model.head.register_forward_pre_hook(self.keep)

    def keep(self, head: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        """Features of the batch that the loss is about to judge."""
        self.features = inputs[0].detach()[:, self.num_extra_tokens:].float().mean(dim=1)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        labels = self.labels(data_batch)
        logits = self.classifier(self.features)
        top1 = 100 * (logits.argmax(dim=1) == labels).float().mean()
        runner.message_hub.update_scalar('train/probe_top1', top1)
        self.optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        all_reduce_params([parameter.grad for parameter in self.classifier.parameters()], op='mean')
        self.optimizer.step()

    def labels(self, data_batch: dict) -> Tensor:
        """Labels [B] of a batch of the loader."""
        samples = data_batch.get('data_samples') or []
        if len(samples) != len(self.features) or not all('gt_label' in sample for sample in samples):
            raise DataError('OnlineProbeHook got an image without a label', 'train_dataloader.dataset',
                            'set with_label=True and end its pipeline with PackInputs')
        labels = torch.cat([sample.gt_label for sample in samples])
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if len(wrong):
            raise DataError(f'label {int(wrong[0])}, but the probe has {self.num_classes} classes',
                            'OnlineProbeHook.num_classes', 'give the number of classes of the data')
        return labels.to(self.features.device)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if hasattr(self, 'classifier'):
            checkpoint[STATE] = dict(classifier=self.classifier.state_dict(), optimizer=self.optimizer.state_dict())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:  # a start from weights begins with a classifier that knows nothing
            self.saved = checkpoint.get(STATE)

    def after_train(self, runner: Runner) -> None:
        self.handle.remove()
