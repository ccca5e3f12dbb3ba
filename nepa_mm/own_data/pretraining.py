"""The config of a pretraining on images of one's own, from random weights or on from others."""
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from nepa_mm.datasets.tiff_windows import is_large

from .config_files import base_lines, call, code, header, text_of
from .files import image_files
from .machine import Cost
from .mask_pairs import Named
from .task import Task

CROPS = 4  # of large images: the side of the largest crops, in sides of what they are scaled to; of usual ones all of an image


@dataclass
class PlainImages:
    """Images without labels."""
    root: Path
    paths: list[Path]
    folder: str | None = ''  # that holds these and no others, from the root; None if there is none
    remarks: list[str] = field(default_factory=list)

    def without(self, paths: Collection[Path]) -> None:
        """Take images out."""
        if paths:
            self.paths, self.folder = [path for path in self.paths if path not in paths], None


def find_images_alone(data: Path) -> PlainImages:
    """Images of a folder to pretrain on: neither label maps beside them, nor what is there to validate and to test."""
    files = [Named.of(path, data, None, None) for path in image_files(data)]
    found = PlainImages(data, [file.path for file in files])
    if any(file.role == 'mask' for file in files) and any(file.role != 'mask' for file in files):
        chosen = [file for file in files if file.role != 'mask']
        found.remarks.append(f'{len(files) - len(chosen)} label maps are left out, such as '
                             f'{next(file.path for file in files if file.role == "mask")}')
        files = chosen
    if any(file.key[0] == 'train' for file in files):
        chosen = [file for file in files if file.key[0] in ('train', None)]
        if len(chosen) < len(files):
            found.remarks.append(f'{len(files) - len(chosen)} images to validate and to test are left out, so that they stay new')
        files = chosen
    chosen = [file.path for file in files]
    if len(chosen) < len(found.paths):
        folder = Path(os.path.commonpath([path.parent for path in chosen]))
        others = set(found.paths) - set(chosen)
        found.folder = None if any(path.is_relative_to(folder) for path in others) else str(folder.relative_to(data))
        found.paths = chosen
    return found


class Pretraining(Task):
    """As :class:`Task`, for images alone.

    Args:
        found: The images.
        **kwargs: Of :class:`Task`.
    """

    def __init__(self, found: PlainImages, **kwargs) -> None:
        super().__init__(**kwargs)
        self.found, self.full, self.images = found, self.machine.is_gpu, len(found.paths)
        self.goes_on = self.start.address is not None
        self.are_large = any(is_large(picture.path) for picture in self.pictures.sound)
        if self.are_large:
            self.remarks.append(f'images are large: crops, up to {CROPS} times their size in the model, are read from the files')
        if found.folder is None:
            self.files.lists['train.txt'] = ''.join(f'{path.relative_to(found.root)}\n' for path in found.paths)

    def settle(self) -> str:
        """Choose, the rest by the work and the memory of a step, and give the text of the config."""
        self.size, self.patch = self.choose_size()
        self.effective = self.choose_effective(self.images, 4096 if self.full else 64)
        cost = Cost.of(self.files.tried(self.text(self.effective, 1, 1, 1), ('train', )))
        batch = self.choose_batch(self.effective, cost, most=512)
        epochs = self.choose_epochs(self.images, 200 if self.goes_on else 1600, cost,
                                    "an eighth of the recipe's: weights were trained" if self.goes_on else "the recipe's")
        return self.text(batch, epochs, self.choose_interval(epochs, 'epochs'), self.choose_workers())

    def text(self, batch: int, epochs: int, interval: int, workers: int) -> str:
        """The config."""
        steps = max(epochs * (self.images // self.effective), 1)
        lr = 3e-4 * self.effective / 256 if self.full else 2e-3 * (self.effective / 64)**0.5
        why = ("the recipe's 0.0003 for 256 images, in proportion" if self.full else
               '0.002 of small models for 64 images, by the root of their number')
        lr = self.choose('lr', lr / 10 if self.goes_on else lr, 'weights were trained: a tenth of ' * self.goes_on + why)
        train = dict(data_root=str(self.found.root), data_prefix=self.found.folder or '')
        if self.found.folder is None:
            train['ann_file'] = self.files.beside('train.txt')
        dataset = call('dict', **train)[:-1] + ', pipeline=train_pipeline' * bool(self.pipeline_lines()) + ')'
        return text_of([
            *header(f'Pretraining on {self.images} images of {self.found.root}.', self.files.path),
            *base_lines('models/nepa', 'datasets/images_224', f'schedules/pretrain_bs{4096 if self.full else 64}_adamw',
                        'default_runtime'), *self.model_lines(), '',
            *self.pipeline_lines(),
            f'train_dataloader = dict(batch_size={batch}, num_workers={workers}, dataset={dataset})', '',
            f'auto_scale_lr = dict(base_batch_size={self.effective})  # reached by accumulation on any number of GPUs',
            f'optim_wrapper = dict(optimizer=dict(lr={lr:.3g}))',
            f'param_scheduler = dict(warmup={epochs / 40:g}, end={epochs})', f'train_cfg = dict(max_epochs={epochs})',
            *(self.average_lines(steps) if self.full else []),
            f'default_hooks = dict(logger=dict(interval={max(min(steps // 20, 100), 1)}), checkpoint=dict(interval={interval}))'])

    def pipeline_lines(self) -> list[str]:
        """The pipeline, where images or their size are not the base's."""
        steps, changes = '_base_.train_pipeline', {} if self.size == 224 else dict(size=self.size)
        if self.are_large:
            width, height = self.pictures.size
            most = min((CROPS * self.size) ** 2 / (width * height), 1.)
            changes['scale'] = tuple(float(f'{share:.2g}') for share in (0.08 * most, most))
        if changes:
            settings = ', '.join(f'{name}={value}' for name, value in changes.items())
            steps = f"dict(step, {settings}) if 'size' in step else step for step in {steps}"
        if self.bands is not None:
            load = dict(self.load, whole=False) if self.are_large else self.load
            return [f'train_pipeline = [{code(load)}, *{f"({steps}[1:])" if changes else f"{steps}[1:]"}]']
        return [f'train_pipeline = [{steps}]'] if changes else []

    def model_lines(self) -> list[str]:
        """Of the model."""
        compiled = dict(compile=True) if self.full else {}
        backbone = self.backbone(self.size, self.patch, **compiled)
        if self.goes_on:
            backbone['init_cfg'] = dict(type='Pretrained', checkpoint=self.start.address, prefix='backbone.')
        pixels = self.start.pixels if self.bands is None else dict(self.normalization, to_rgb=False)
        parts = dict(data_preprocessor={**compiled, **pixels}, backbone=backbone, head=compiled)
        lines = [f'    {name}={code(part)},' for name, part in parts.items() if part]
        return ['model = dict(', *lines[:-1], lines[-1][:-1] + ')']
