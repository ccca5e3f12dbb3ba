"""What a model sees in a few fixed images, again and again while it trains."""
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from nepa_mm.checkpoints.preprocessing import bands_in
from nepa_mm.engine.parallel.fully_sharded import whole_model
from nepa_mm.errors import ConfigError
from nepa_mm.find_images import find_images
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.registry import HOOKS
from nepa_mm.visualization import draw_query_patches
from nepa_mm.visualization.read_image import image_size, pixels_of, read_image
from nepa_mm.visualization.vis_backends import spare_training


@HOOKS.register_module()
class QueryPatchesHook(Hook):
    """Give the visualizer triplets of query, attention and similarity for fixed images: at the start, every N steps, at the end.

    This is the evolution that the paper's Figure 7 shows. Pictures go where ``vis_backends`` says: the work directory
    (``LocalVisBackend``), TensorBoard, WandB, ...; one that fails costs a warning (:func:`spare_training`). Training stays the
    same to the bit: no random number is drawn, and the model is in its own mode again afterwards. Shown are the weights that are
    trained, not their average.

    Args:
        images: Files, folders of images, or a number of images spread over the training data.
        interval: Steps between two pictures.
        queries: (row, column) of query patches, from 0; three when not given.
        layers: Blocks whose attention is shown: indices, 'all', or 'mean' of all.
        heads: Likewise.
        size: Height and width in pixels, or one for a square, that the middle of each image is scaled to; those of the model when
            not given.

    Raises:
        ConfigError: For an interval below 1, a query, layer or head that is not there, or a backbone that NEPA cannot train.
        DataError: For an image that is not there or cannot be read.
    """
    priority = 'LOW'

    def __init__(self, images: int | str | Sequence[str] = 3, interval: int = 1000,
                 queries: Sequence[tuple[int, int]] | None = None, layers: int | str | Sequence[int] = -1,
                 heads: int | str | Sequence[int] = 'mean', size: int | Sequence[int] | None = None) -> None:
        for name, value in dict(interval=interval, images=images if isinstance(images, int) else len(images)).items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f'{value!r} is out of range', f'QueryPatchesHook.{name}', 'give 1 or more')
        self.images, self.interval, self.size = images, interval, [size] if isinstance(size, int) else size
        self.settings = dict(queries=queries, layers=layers, heads=heads)

    def before_train(self, runner: Runner) -> None:
        """Read the images and draw the first picture, in every process, so that what is wrong ends all of them."""
        model = unwrapped(runner.model)
        size = image_size(model, self.size, runner.cfg)
        spare_training(runner.visualizer)
        self.names, images = zip(*self.read_images(runner))
        self.pixels = pixels_of(images, size).to(next(model.parameters()).device)
        with whole_model(runner.model):
            self.show(runner, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self.show_once(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        if runner.iter % self.interval:
            self.show_once(runner, runner.iter)

    def show_once(self, runner: Runner, step: int) -> None:
        """Draw in the first process; all must come here, who may have to give their pieces of the parameters."""
        with whole_model(runner.model):
            if is_main_process():
                self.show(runner, step)

    def show(self, runner: Runner, step: int) -> None:
        figure = draw_query_patches(unwrapped(runner.model), self.pixels, names=self.names, **self.settings)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        runner.visualizer.add_image('query_patches', np.asarray(canvas.buffer_rgba())[..., :3].copy(), step)

    def read_images(self, runner: Runner) -> list[tuple[str, Image.Image | np.ndarray]]:
        bands = bands_in(runner.cfg)
        if not isinstance(self.images, int):
            paths = find_images([self.images] if isinstance(self.images, str) else self.images)
            return [(path.name, read_image(path, bands=bands)) for path in paths]
        dataset = runner.train_dataloader.dataset
        if not hasattr(dataset, 'get_data_info'):
            raise ConfigError(f'{self.images}: {type(dataset).__name__} does not say where its images are',
                              'QueryPatchesHook.images', 'give paths')
        found, count = [], min(self.images, len(dataset))
        for i in range(count):
            info = dataset.get_data_info(i * len(dataset) // count)
            if 'img_path' not in info:
                raise ConfigError(f'{self.images}: {type(dataset).__name__} keeps its images in no files',
                                  'QueryPatchesHook.images', 'give paths')
            path = str(info['img_path'])
            found.append(('/'.join(path.split('/')[-2:]), read_image(path, info.get('img_bytes'), bands)))
        return found
