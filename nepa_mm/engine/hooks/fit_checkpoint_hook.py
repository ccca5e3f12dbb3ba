"""Load into a whole model what fits, say so in one line, and refuse the rest; write down what a checkpoint is."""
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from nepa_mm.checkpoints.fitting.fit import origin_of
from nepa_mm.checkpoints.record import KEY, record
from nepa_mm.errors import CheckpointError
from nepa_mm.launch.naming_errors import class_counts
from nepa_mm.models.fit_model import fit_model, require_all, unwrapped
from nepa_mm.models.pretrained_backbone import PretrainedBackbone
from nepa_mm.registry import HOOKS


@HOOKS.register_module()
class FitCheckpointHook(Hook):
    """Before ``load_from`` or ``--resume`` fills a model, fit the checkpoint by :func:`fit_model` and log what that did.

    A training may start with new heads; of those that only differ in their classes it warns. A test or a resumed training must
    find every weight.

    Raises:
        CheckpointError: If the checkpoint does not fit, in one line that names it.
    """
    priority = 'VERY_HIGH'  # EMAHook loads the checkpoint into the average

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        state_dict = checkpoint.get('state_dict', checkpoint)
        if runner._resume and not {'message_hub', 'meta'} <= checkpoint.keys():
            raise CheckpointError('weights alone, no state of a training to resume', origin_of(state_dict).source,
                                  'start a new one from them, with load_from')
        fit = fit_model(unwrapped(runner.model), state_dict)
        if not fit.available:
            return
        trains = isinstance(runner._train_loop, BaseLoop)
        if runner._resume:
            require_all(fit, 'a resumed training', exactly=True)
        elif not trains and (isinstance(runner._test_loop, BaseLoop) or isinstance(runner._val_loop, BaseLoop)):
            require_all(fit, 'a test')
        runner.logger.info(str(fit))
        remade = ', '.join(part for part in fit.new_parts if ' classes (' in part)
        if remade:
            keys = ' and '.join(class_counts(runner.cfg, remade)) or 'this model'
            runner.logger.warning(f'{fit.source}: {remade}, as it has other classes than {keys}; these weights learn anew')


@HOOKS.register_module()
class CheckpointRecordHook(Hook):
    """Add to the ``meta`` of a saved checkpoint what nepa_mm knows of it; the config is there already, by mmengine."""
    priority = 'VERY_LOW'  # after EMAHook, which makes the average the state_dict

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        facts = record('ema' if 'ema_state_dict' in checkpoint else 'raw', started_from=runner._load_from)
        backbones = [module for module in unwrapped(runner.model).modules() if isinstance(module, PretrainedBackbone)]
        if len(backbones) == 1:
            facts.update(variant=backbones[0].variant, settings=backbones[0].untraced_settings)
            if isinstance(backbones[0].init_cfg, dict):
                facts.update(started_from=runner._load_from or backbones[0].init_cfg.get('checkpoint'))
        checkpoint['meta'][KEY] = facts
