"""Settings that all tasks choose alike: sizes, batches, lengths."""
from nepa_mm.errors import ConfigError

from .choices import Choices, power_of_two
from .config_files import ConfigFiles
from .files import Pictures
from .machine import Cost, Machine
from .start import Start

CPU_MINUTES = 5  # that a training on a CPU may take by the estimate, unless told
VERBS = dict(train='train on', val='validate', test='test')
USUAL = dict(img_size=224, patch_size=14)  # of the bases of configs


class Task:
    """A config for data of one's own: chooses setting by setting, then writes.

    Args:
        pictures: What was looked at of the images.
        start: The model to begin with.
        choose: For its settings.
        machine: To train on.
        files: To write.
    """

    def __init__(self, pictures: Pictures, start: Start, choose: Choices, machine: Machine, files: ConfigFiles) -> None:
        self.pictures, self.start, self.choose, self.machine, self.files = pictures, start, choose, machine, files
        self.bands, self.remarks = pictures.bands, []
        self.is_adapted = self.bands is not None and start.address is not None and start.bands is None
        if start.bands is not None and start.bands != self.bands:
            has = 'RGB' if self.bands is None else f'{self.bands} channels'
            raise ConfigError(f'{start.address!r} is of {start.bands} channels, and the images are {has}', '--from',
                              'give weights of RGB, of as many channels as the images, or none')
        if self.bands is not None:
            self.choose_channels()

    def choose_channels(self) -> None:
        """Say how images are read that are not RGB, and what normalises them."""
        why = 'as they are in the files, in this order'
        if self.is_adapted:
            why += '; the patch embedding of RGB is repeated for them, as timm does' if self.bands > 1 else (
                '; the patch embedding of RGB is summed, as timm does')
        self.choose('channels', self.bands, why)
        if self.start.bands is not None:
            self.normalization = self.start.pixels
            return
        mean, std = self.pictures.statistics()
        constant = [number for number, value in enumerate(std, 1) if value == 0]
        if constant:
            self.remarks.append(f'channel {", ".join(map(str, constant))} has one value in all images: it is not scaled')
        self.normalization = {name: [float(f'{value:.4g}') for value in values]
                              for name, values in dict(mean=mean, std=[value or 1. for value in std]).items()}
        number = len([picture for picture in self.pictures.sound if picture.sums])
        self.remarks.append(f'mean and std of each channel, of {number} images, normalise them')

    @property
    def load(self) -> dict:
        """The loader of the images."""
        return dict(type='nepa_mm.LoadImage') if self.bands is None else dict(type='nepa_mm.LoadImage', channels=self.bands)

    @property
    def is_deep(self) -> bool:
        """Whether the model is deeper than base, and has large's recipe."""
        return self.start.sizes['num_layers'] > 12

    def settle(self) -> str:
        """Make all choices, and give the text of the config."""
        raise NotImplementedError

    def choose_size(self) -> tuple[int, int]:
        """Sides in pixels of whole images as the backbone sees them, and of a patch."""
        short = self.pictures.short_side
        if self.start.address is not None:
            pixels, patch, why = self.start.img_size, self.start.patch_size, 'those of the weights'
        elif short < 48:
            pixels, patch, why = 32, 4, f'images have {short} pixels'
        elif short < 112 or not self.machine.is_gpu:
            pixels, patch = 64, 8
            why = f'images have {short} pixels' + ', and a CPU has little time' * (not self.machine.is_gpu)
        else:
            pixels, patch, why = 224, 14, "the release's"
        return self.choose('img-size', pixels, why), self.choose('patch-size', patch, why)

    def choose_effective(self, images: int, most: int) -> int:
        """Images of an optimizer step."""
        value = min(most, power_of_two(images / 20, min(8, power_of_two(images))))
        return self.choose('effective-batch', value, f'images of an optimizer step: a twentieth of all, {most} at most')

    def choose_batch(self, effective: int, cost: Cost, most: int = 256) -> int:
        """Images on the device at a time, a part of the effective batch.

        Raises:
            ConfigError: For a number that was given and is none.
        """
        most = min(effective, most, power_of_two(cost.most(self.machine), 2))
        # Of an even number an even part, of which mixup makes pairs
        part = next(size for size in range(most, 0, -1) if effective % size == 0 and size % 2 == effective % 2)
        batch = self.choose('batch-size', part, '')
        if effective % batch:
            raise ConfigError(f'{batch} images at a time never make the {effective} of an optimizer step', '--batch-size',
                              'give a divisor of --effective-batch')
        if 'batch-size' not in self.choose.given:
            said = f'{cost.memory(batch) / 2**30:.1f} GiB by count, of {self.machine.memory / 2**30:.0f}'
            self.choose.say('batch-size', said + f'; {effective // batch} are accumulated' * (effective > batch))
        return batch

    def seconds(self) -> float:
        """That a training on a CPU may take."""
        return 60 * self.choose('minutes', CPU_MINUTES, 'no GPU is here: a first result, not the best; raise it for a better one')

    def choose_epochs(self, images: int, most: int, cost: Cost, why: str) -> int:
        """Passes over the images: the recipe's, or what a CPU does in a few minutes."""
        if not self.machine.is_gpu:
            seconds = self.seconds()
            possible = cost.images_in(seconds, self.machine) / images
            if possible < most:
                most, why = max(int(possible), 1), f'about {seconds / 60:g} minutes by the estimate'
                if possible < 1:
                    why = f'one takes about {seconds / 60 / possible:.0f} minutes by the estimate'
        return self.choose('epochs', most, why)

    def choose_iterations(self, most: int, effective: int, cost: Cost, why: str) -> int:
        """Optimizer steps: the recipe's, or what a CPU does in a few minutes."""
        if not self.machine.is_gpu:
            seconds = self.seconds()
            possible = int(cost.images_in(seconds, self.machine) / effective)
            if possible < most:
                most, why = max(possible // 10 * 10, 20), f'about {seconds / 60:g} minutes by the estimate'
        return self.choose('iters', most, why)

    def choose_interval(self, length: int, unit: str, times: int = 10) -> int:
        """How often a training validates and saves."""
        return self.choose('val-interval', max(length // times, 1), f'{unit} between validations and checkpoints')

    def average_lines(self, steps: int) -> list[str]:
        """The average of weights, of recipes that have one: over a tenth of the training, the recipe's 10,000 steps at most."""
        momentum = self.choose('ema-momentum', max(1e-4, min(10 / steps, 0.1)),
                               "the average of weights reaches back a tenth of the training, the recipe's 10,000 steps at most")
        return [] if momentum == 1e-4 else [f'custom_hooks = [dict(_base_.custom_hooks[0], momentum={momentum:.2g})]']

    def choose_workers(self) -> int:
        """Processes of the loader."""
        if self.machine.is_gpu:
            return self.choose('workers', max(min(self.machine.cores - 1, 8), 1), 'that read images; 8 at most')
        return self.choose('workers', 1, 'that reads images; the other cores train')

    def choose_decay(self) -> float:
        """Learning rate of a layer over that of the next one."""
        if self.start.address is None:
            return self.choose('layer-decay', 1.0, 'all layers learn alike: none was trained before')
        decay = 0.75 if self.is_deep else 0.65
        return self.choose('layer-decay', decay, "the release's, for weights that were trained")

    def backbone(self, img_size: int, patch_size: int, **others) -> dict:
        """Arguments of the backbone beside those of the bases; of ``others``, None is left out."""
        sizes = dict(img_size=img_size, patch_size=patch_size)
        arguments = {key: value for key, value in sizes.items() if value != USUAL[key]}
        if self.bands not in (None, 3):
            arguments['in_channels'] = self.bands
        arguments.update({key: value for key, value in {**self.start.others, **others}.items() if value is not None})
        address = self.start.address
        return dict(arch=self.start.arch, **arguments, init_cfg=None if address is None else dict(checkpoint=address))
