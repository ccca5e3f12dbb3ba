"""What came of a training or a test, once at its end: by class, by confusion, and the images that it did worst and best."""
import time
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.runner import BaseLoop, Runner
from mmengine.structures import BaseDataElement
from PIL import Image
from torch.utils.data import Dataset

from nepa_mm.apis.images import picture_of
from nepa_mm.checkpoints.preprocessing import bands_in
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.errors import StorageError
from nepa_mm.evaluation.tallies import Scored, Tally, tally_of
from nepa_mm.new_files import new_file, require_new
from nepa_mm.registry import HOOKS
from nepa_mm.visualization.read_image import read_image
from nepa_mm.visualization.result_report import ResultReport


@HOOKS.register_module()
class ReportHook(Hook):
    """Log a table of classes and of what they were confused with, and write ``report.html`` with pictures beside the log.

    It is of a test, or of the last validation of a training, by the same predictions that the metrics get; no others are looked
    at. In classification and segmentation; of other metrics it says that there is none. Of several heads it is of that which the
    first metric judges, and says so. Several processes count
    their own images, as the metrics do, and the first reports.

    Args:
        out_html: The file to write instead.

    Raises:
        ConfigError: If ``out_html`` is there already, before anything runs.
        StorageError: If ``out_html`` cannot be written in the end; where no file was asked for, a warning says so.
    """
    priority = 'ABOVE_NORMAL'  # before mmpretrain's EMAHook, which may go through the images again with other weights
    tally = report = None

    def __init__(self, out_html: str | None = None) -> None:
        self.out_html = out_html

    def before_run(self, runner: Runner) -> None:
        if self.out_html and is_main_process():
            require_new(Path(self.out_html))

    def before_test_epoch(self, runner: Runner) -> None:
        self.begin(runner, runner.test_loop)

    def before_val_epoch(self, runner: Runner) -> None:
        self.tally = None
        if is_last(runner):
            self.begin(runner, runner.val_loop)

    def begin(self, runner: Runner, loop: BaseLoop) -> None:
        """Count what is to come, if it can be counted."""
        self.seen, self.dataset = 0, loop.dataloader.dataset
        metrics, meta = loop.evaluator.metrics, loop.evaluator.dataset_meta or {}
        self.tally, self.palette = tally_of(metrics, meta.get('classes')), meta.get('palette') or ()
        if self.tally is None:
            folders = [metric.output_dir for metric in metrics if getattr(metric, 'format_only', False)]
            names = ' and '.join(type(metric).__name__ for metric in metrics)
            runner.logger.info(f'No report: {folders[0]} gets label maps, which are compared with none' if folders else
                               f'No report: there is none of what {names} measures')

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count the samples of a batch; those that only fill the last round up are left out, as metrics leave them out."""
        if self.tally is None:
            return
        rank, processes = get_dist_info()
        for sample in outputs:
            index = self.seen * processes + rank
            self.seen += 1
            if index < len(self.dataset):
                self.tally.add(index, sample.to_dict() if isinstance(sample, BaseDataElement) else sample)

    after_val_iter = after_test_iter

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put together what the processes have counted."""
        if self.tally is None:
            return
        tally, *others = all_gather_object(self.tally)
        self.tally = None
        if is_main_process():
            for other in others:
                tally = tally.merged(other)
            self.report = self.report_of(runner, tally, metrics or {})

    after_val_epoch = after_test_epoch

    def report_of(self, runner: Runner, tally: Tally, metrics: dict) -> ResultReport:
        """The report, with what it is of."""
        facts = dict(config=runner.cfg.filename, images=f'{len(self.dataset):,}', written=time.strftime('%Y-%m-%d %H:%M'))
        if isinstance(runner._train_loop, BaseLoop):
            name = Path(runner.cfg.filename).stem if runner.cfg.filename else runner.experiment_name
            title = f'Last validation of {name}, after {runner.iter:,} iterations'
        else:
            title = f'Test of {Path(runner._load_from or runner.experiment_name).name}'
            facts['checkpoint'] = runner._load_from
        head = getattr(tally, 'head', None)
        if head:  # of several
            title += f', head {head}'
        return ResultReport(title, {name: str(value) for name, value in facts.items() if value}, metrics, tally, self.palette)

    def after_run(self, runner: Runner) -> None:
        """Log the tables and write the page."""
        if self.report is None:
            return
        report, self.report = self.report, None
        runner.logger.info('\n' + report.text())
        path = Path(self.out_html or Path(runner.log_dir) / 'report.html')
        bands = bands_in(runner.cfg)
        try:
            with new_file(path) as file:
                page = report.page(lambda image: read_again(self.dataset, image, bands))
                file.write_text(page, encoding='utf-8', errors='backslashreplace')  # names of files may be no text
            runner.logger.info(f'The report with pictures: {path}')
        except OSError as error:
            if self.out_html:
                raise StorageError(f'it cannot be written ({error.strerror})', str(path), 'give another --out-html') from error
            runner.logger.warning(f'{path} cannot be written: {error.strerror}')


def is_last(runner: Runner) -> bool:
    """Whether a validation is the last of a training, or may be."""
    loop = runner._train_loop
    if not isinstance(loop, BaseLoop):
        return True
    return loop.epoch >= loop.max_epochs or loop.iter >= loop.max_iters or any(
        isinstance(hook, EarlyStoppingHook) for hook in runner.hooks)


def read_again(dataset: Dataset, image: Scored, bands: int | None = None) -> Image.Image:
    """The picture of an image: from its file, or from what the dataset holds, pixels [H, W, 3] in RGB as mmpretrain's CIFAR10.

    Of ``bands``, channels that are not RGB, it shows the first.
    """
    info = dataset.get_data_info(image.index) if hasattr(dataset, 'get_data_info') else {}
    if 'img_path' not in info and isinstance(info.get('img'), np.ndarray):
        return Image.fromarray(info['img'])
    if 'window' in info:
        top, bottom, left, right = info['window']
        return Image.fromarray(picture_of(TiffWindows(image.path)[top:bottom, left:right], are_bands=True))
    content = info.get('img_bytes') if str(info.get('img_path')) == image.path else None
    picture = read_image(image.path, content, bands)
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture_of(picture, are_bands=True))
