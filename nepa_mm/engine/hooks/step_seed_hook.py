"""Drop path, masks, mixup and all else that is drawn in a training step, as a function of the seed and the step."""
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from nepa_mm.registry import HOOKS
from nepa_mm.seeding import seed_all


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed the generators before each step from the run's seed, the step and the process: a resumed step draws the same."""
    priority = 'VERY_HIGH'  # other hooks may draw

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        seed_all('step', runner.seed, runner.iter, get_rank())
