"""The authors' code, from a checkout of theirs: their model, their weight decay groups, their average; nothing of it is copied.

A step is what their Trainer does with a batch, less logging and checks: forward under autocast (where the config has it),
backward, clipping, AdamW, the average, gradients set to None.
"""
import sys
from types import ModuleType

from worker import Worker


def main() -> None:
    worker = Worker()
    sys.path.insert(0, worker.settings['peer_path'])
    try:
        import transformers
        from models.vit_nepa import ViTNepaConfig, ViTNepaForPreTraining
    except ImportError as error:
        worker.stop(f"cannot import the authors' code from {worker.settings['peer_path']!r} ({error}); give a checkout with "
                    '--peer-path and a Python that has transformers 4.56 with --peer-python')
    # Their script imports what reads data sets, which a step does not need.
    data = ModuleType('datasets')
    data.load_dataset = data.load_from_disk = None
    data.__version__, data.__spec__ = '9.9', None
    checks = transformers.utils.versions.require_version
    transformers.utils.versions.require_version = lambda *args, **kwargs: None
    sys.modules.setdefault('datasets', data)
    from run_nepa import EnhancedTrainer
    transformers.utils.versions.require_version = checks

    model = ViTNepaForPreTraining(ViTNepaConfig(**worker.settings['released_config'])).to(worker.device).train()
    trainer = object.__new__(EnhancedTrainer)  # its average and its groups alone: the whole needs accelerate and a data set
    trainer.model, trainer.ema_model, trainer.use_ema = model, None, worker.settings['ema']
    trainer.ema_decay = 1 - (worker.settings['ema_momentum'] or 1e-4)
    decayed = set(trainer.get_decay_parameter_names(model))
    named = dict(model.named_parameters())
    optimizer = worker.optimizer([
        dict(params=[value for name, value in named.items() if name in decayed]),
        dict(params=[value for name, value in named.items() if name not in decayed], weight_decay=0.)])
    images = worker.images()

    def step() -> None:
        worker.step(lambda images: model(pixel_values=images).loss, model, optimizer, images)
        trainer._update_ema()

    worker.serve(step, name="the authors' code", transformers=transformers.__version__,
                 parameters=sum(value.numel() for value in named.values()))


if __name__ == '__main__':
    main()
