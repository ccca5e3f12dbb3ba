"""The config of a segmentation of images of one's own: UPerNet on a NEPA ViT."""
from nepa_mm.datasets.tiff_windows import is_large, is_tiff
from nepa_mm.errors import ConfigError

from .config_files import Code, base_lines, call, class_lines, code, header, text_of
from .label_classes import IGNORED, LabelClasses
from .machine import Cost
from .mask_pairs import MaskPairs, layout_of
from .task import VERBS, Task

RECIPE = 160_000 * 16  # crops that ADE20K's recipe trains on, 127 for each image
LEFT_OUT = 'PhotoMetricDistortion is left out: it is for RGB of 8 bits'
LOAD = "dict(type='LoadImageFromFile', imdecode_backend='pillow')"  # of a test: mmseg's inferencer looks for its name
MOST_EPOCHS = 400  # of few images


class Segmentation(Task):
    """As :class:`Task`, for images with label maps.

    Args:
        found: The pairs.
        classes: Of their labels.
        orientation: The pixels of turned photographs that label maps are of.
        threshold: Of one output instead of two, for two classes; None for two.
        **kwargs: Of :class:`Task`.
    """

    def __init__(self, found: MaskPairs, classes: LabelClasses, orientation: str, threshold: float | None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.found, self.classes, self.orientation, self.full = found, classes, orientation, self.machine.is_gpu
        if threshold is not None and len(classes.names) != 2:
            raise ConfigError(f'{len(classes.names)} classes', '--one-channel', 'leave it out: one output tells two classes')
        self.threshold, self.layout = threshold, layout_of(found)
        self.in_windows = self.choose_windows()
        self.names = class_lines(classes.names, self.files)
        self.palette = self.palette_lines()
        self.data = {split: self.data_of(split) for split in found.splits}
        self.shared = {}  # of the datasets of all splits
        prefixes = [part.get('data_prefix') for part in self.data.values()]
        if prefixes[0] is not None and all(prefix == prefixes[0] for prefix in prefixes):
            self.shared = [dict(data_prefix=part.pop('data_prefix')) for part in self.data.values()][0]

    def choose_windows(self) -> bool:
        """Whether images are so large that windows of them are read; images and label maps are TIFF files then, in lists."""
        large = next((image for image, _ in self.found.pairs if is_large(image)), None)
        if large is None:
            return False
        others = [path for pair in self.found.pairs for path in pair if not is_tiff(path)]
        if others:
            self.remarks.append(f'{large.name} is large, and is whole in memory for each crop, for {len(others)} files are no '
                                f'TIFF, such as {others[0].name}: with tiled TIFFs alone, crops are read from the files')
            return False
        self.layout = None
        self.remarks.append('images are large: crops are read from the files; a validation goes through them in windows')
        return True

    def settle(self) -> str:
        """Choose, the rest by the work and the memory of a step, and give the text of the config."""
        short, images = self.pictures.short_side, len(self.found.splits['train'])
        crop = min(512 if self.full else 224, max(short // 32 * 32, 32))
        why = f'crops; images have {short} pixels' + ', and a CPU has little time' * (not self.full)
        self.crop = self.choose('img-size', crop, why)
        if self.start.address is not None:
            self.patch = self.choose('patch-size', self.start.patch_size, 'that of the weights')
        else:
            self.patch = self.choose('patch-size', 14 if self.crop >= 112 else 8 if self.crop >= 64 else 4, 'for these crops')
        self.short = min(max(short, self.crop), 2 * self.crop)
        self.effective = self.choose('effective-batch', 16 if self.full else 4, 'crops of an optimizer step: ' + (
            "the recipe's" if self.full else 'few, for a CPU'))
        threshold, self.threshold = self.threshold, None  # the loss of one output cannot be counted, and costs no less
        cost = Cost.of(self.files.tried(self.text(2, 100, 100, 1), ('train', 'val')))
        self.threshold = threshold
        batch = self.choose_batch(self.effective, cost) if self.full else self.choose('batch-size', self.effective, 'all at once')
        most = min(RECIPE, max(MOST_EPOCHS * images, 16_000)) // self.effective
        steps = self.choose_iterations(most, self.effective, cost, f"{MOST_EPOCHS} crops of each image, up to ADE20K's number")
        return self.text(batch, steps, self.choose_interval(steps, 'steps', 10 if self.full else 2), self.choose_workers())

    def text(self, batch: int, steps: int, interval: int, workers: int) -> str:
        """The config."""
        fresh = self.start.address is None
        lr = self.choose('lr', 1e-3 if fresh else 1e-4, 'of small models from random weights' if fresh else "the recipe's")
        warmup = max(min(1500, steps // 10), 1)
        decay = self.choose_decay()
        by_layer = dict(paramwise_cfg=dict(layer_decay_rate=decay))
        if not self.full:  # whose schedule has none
            by_layer = dict(constructor='nepa_mm.LayerDecayOptimWrapperConstructor', **by_layer) if decay != 1 else {}
        images = self.dataset_arguments()
        return text_of([
            *header(self.title(), self.files.path),
            *base_lines('models/nepa_upernet', 'datasets/own_masks', f'schedules/{"160k" if self.full else "300i"}_adamw',
                        'segmentation_runtime'),
            *self.names, *self.palette, f'images = {images}',
            *([] if self.full else ["norm_cfg = dict(type='BN', requires_grad=True)"]),
            *self.model_lines(),
            *self.pipeline_lines(),
            f'train_dataloader = dict(batch_size={batch}, num_workers={workers}, dataset={self.dataset("train")})',
            f'val_dataloader = dict(dataset={self.dataset("val")})',
            'test_dataloader = val_dataloader' if 'test' not in self.data else
            f'test_dataloader = dict(_base_.val_dataloader, dataset={self.dataset("test")})',
            '',
            *([f'auto_scale_lr = dict(base_batch_size={self.effective})'] if self.full and self.effective != 16 else []),
            f'optim_wrapper = {call("dict", optimizer=dict(lr=lr), **by_layer)}',
            f'param_scheduler = [dict(_base_.param_scheduler[0], end={warmup}), '
            f'dict(_base_.param_scheduler[1], begin={warmup}, end={steps})]',
            f'train_cfg = dict(max_iters={steps}, val_interval={interval})',
            f'default_hooks = dict(logger=dict(interval={max(min(steps // 20, 50), 1)}), checkpoint=dict(interval={interval}))'])

    def title(self) -> str:
        said = ', '.join(f'{len(self.found.splits[split])} to {verb}' for split, verb in VERBS.items() if split in self.data)
        return f'Segmentation of {self.found.root}: {len(self.classes.names)} classes, images {said}.'

    def palette_lines(self) -> list[str]:
        """Colours of the classes, where they have some, or a list would be long."""
        if self.classes.palette is None:
            return []
        line = 'palette = ' + repr(self.classes.palette).replace(' ', '').replace('],[', '], [')
        if len(self.names) == 1 and 'fileDirname' in self.names[0]:
            self.files.lists['palette.txt'] = '\n'.join(' '.join(map(str, colour)) for colour in self.classes.palette) + '\n'
            return [f"palette = [tuple(map(int, line.split())) for line in open('{self.files.beside('palette.txt')}')]"]
        return [line]

    def data_of(self, split: str) -> dict:
        """Arguments of a split's dataset; where folders do not say all, a list is added to the files."""
        pairs, layout, root = self.found.splits[split], self.layout, self.found.root
        if layout is None:
            lines = ['\t'.join(str(path.relative_to(root)) for path in pair) for pair in pairs]
            self.files.lists[f'{split}.txt'] = '\n'.join(lines) + '\n'
            return dict(ann_file=self.files.beside(f'{split}.txt'))
        arguments = dict(data_prefix=layout.folders[split])
        if split in layout.names:
            self.files.lists[f'{split}.txt'] = '\n'.join(layout.names[split]) + '\n'
            arguments.update(ann_file=self.files.beside(f'{split}.txt'))
        return arguments

    def dataset_arguments(self) -> str:
        """What the datasets of all splits share."""
        names = 'classes=classes' + ', palette=palette' * bool(self.palette)
        arguments = dict(data_root=str(self.found.root), metainfo=Code(f'dict({names})'), **self.shared)
        if self.layout is None:
            return call('dict', type='nepa_mm.SegPairs', **arguments)
        return call('dict', type='BaseSegDataset', **arguments, img_suffix=self.layout.image_suffix,
                    seg_map_suffix=self.layout.mask_suffix)

    def dataset(self, split: str) -> str:
        """Of a split, with the pipeline of a training or a test."""
        steps = Code(('train' if split == 'train' else 'test') + '_pipeline')
        window = dict(window=2 * self.crop) if self.in_windows and split != 'train' else {}
        return call('dict', **self.data[split], **window, pipeline=steps).replace('dict(', 'dict(images, ', 1)

    def model_lines(self) -> list[str]:
        """Of the model."""
        width, depth, count = self.start.sizes['embed_dims'], self.start.sizes['num_layers'], len(self.classes.names)
        if depth < 4:
            raise ConfigError(f'{depth} blocks, and UPerNet takes the outputs of four', '--from', 'give a deeper model')
        indices = [depth // 3 - 1, depth // 2 - 1, depth * 2 // 3 - 1, depth - 1] if depth in (12, 24) else [  # as base and large
            depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        rate = 0.2 if self.is_deep else 0.1
        fresh = dict(layer_scale_init_value=0.1) if self.start.address is None else {}
        backbone = self.backbone(self.crop, self.patch, out_indices=indices, drop_path_rate=rate if self.full else None, **fresh)
        channels = width if self.full else width // 4
        norm = {} if self.full else dict(norm_cfg=Code('norm_cfg'))
        head = dict(num_classes=count, **norm)
        if self.threshold is not None:
            head.update(out_channels=1, threshold=self.threshold, loss_decode=dict(use_sigmoid=True))
        stride = max(self.crop * 2 // 3, 1)
        preprocessor = dict(size=(self.crop, ) * 2) | (
            self.start.pixels if self.bands is None else dict(self.normalization, bgr_to_rgb=False))
        return ['model = dict(', f'    data_preprocessor={code(preprocessor)},', f'    backbone={code(backbone)},',
                f'    neck={code(dict(embed_dim=width, **norm))},',
                f'    decode_head={code(dict(in_channels=[width] * 4, channels=channels, **head))},',
                f'    auxiliary_head={code(dict(in_channels=width, channels=max(channels // 2, 16), **head))},',
                f'    test_cfg={code(dict(mode="slide", crop_size=(self.crop, ) * 2, stride=(stride, ) * 2))})']

    def pipeline_lines(self) -> list[str]:
        """Of training and test."""
        classes, scale = self.classes, (4 * self.short, self.short)
        labels = {}
        if classes.by_colour:
            labels['colours'] = Code('palette')
        elif classes.threshold:
            labels['values'] = Code('{value: int(value > 127) for value in range(256)}')
        elif classes.values:
            labels['values'] = values_code(classes.values)
        if self.orientation != 'stored':
            labels['orientation'] = self.orientation
        sizes = {picture.size for picture in self.pictures.sound}
        resize = dict(type='Resize', scale=scale, keep_ratio=True)
        load, colours = LOAD, "dict(type='nepa_mm.PhotoMetricDistortion'), "
        if self.bands is not None:
            load, colours = code(self.load), ''
            if LEFT_OUT not in self.remarks:
                self.remarks.append(LEFT_OUT)
        if self.in_windows:
            return self.window_lines(labels, colours)
        resized = '' if {min(size) for size in sizes} == {self.short} else f'{code(resize)}, '
        return [
            f"load_labels = {call('dict', type='nepa_mm.LoadSegAnnotations', **labels)}",
            f"train_pipeline = [{code(self.load)}, load_labels, "
            f"dict(type='RandomResize', scale={scale}, ratio_range=(0.5, 2.0), keep_ratio=True), "
            f"dict(type='nepa_mm.RandomCrop', crop_size={(self.crop, ) * 2}, cat_max_ratio=0.75), "
            f"dict(type='RandomFlip', prob=0.5), {colours}dict(type='nepa_mm.PackSegInputs')]",
            f"test_pipeline = [{load}, {resized}load_labels, "
            "dict(type='nepa_mm.PackSegInputs')]"]

    def window_lines(self, labels: dict, colours: str) -> list[str]:
        """Pipelines that read parts of the files; in training of twice the crop, which are scaled and cropped."""
        crop, part = ({'crop_size': (side, ) * 2, 'cat_max_ratio': 0.75} for side in (self.crop, 2 * self.crop))
        scaled = dict(type='RandomResize', scale=(2 * self.crop, ) * 2, ratio_range=(0.5, 2.0), keep_ratio=True)
        return [
            f"load, pack = {code(dict(self.load, whole=False))}, dict(type='nepa_mm.PackSegInputs')",
            f"load_labels = {call('dict', type='nepa_mm.LoadSegAnnotations', whole=False, **labels)}",
            f"train_pipeline = [load, load_labels, {code(dict(type='nepa_mm.RandomCrop', **part))}, {code(scaled)}, "
            f"{code(dict(type='nepa_mm.RandomCrop', **crop))}, dict(type='RandomFlip', prob=0.5), {colours}pack]",
            "test_pipeline = [load, load_labels, dict(type='nepa_mm.CutWindow'), pack]"]


def values_code(values: dict[int, int]) -> dict | Code:
    """Labels of values as a config has them; of many, by a rule."""
    if len(values) <= 20:
        return values
    ignored = {value: label for value, label in values.items() if label == IGNORED}
    others = {value: label for value, label in values.items() if label != IGNORED}
    start = '{' + ''.join(f'{value}: {label}, ' for value, label in ignored.items())
    if all(label == value - 1 for value, label in others.items()):
        return Code(f'{start}**{{value: value - 1 for value in range({min(others)}, {max(others) + 1})}}}}')
    return Code(f'{start}**dict(zip({list(others)}, {list(others.values())}))}}')
