"""The config of a classifier for images of one's own."""
import json

from .config_files import Code, base_lines, call, class_lines, code, header, text_of
from .labelled_images import LabelledImages
from .machine import Cost
from .task import VERBS, Task

LEFT_OUT = 'RandAugment and random erasing are left out: they are for RGB of 8 bits'
PILLOW = dict(backend='pillow', interpolation='bicubic')


class Classification(Task):
    """As :class:`Task`, for images with classes.

    A GPU gets the release's recipe, deeper models than base that of large. A CPU gets a short training by few transforms, with
    neither mixing nor an average.

    Args:
        found: The images.
        **kwargs: Of :class:`Task`.
    """

    def __init__(self, found: LabelledImages, **kwargs) -> None:
        super().__init__(**kwargs)
        self.found, self.full = found, self.machine.is_gpu
        self.images, self.count = len(found.splits['train']), len(found.classes)
        self.classes = class_lines(found.classes, self.files)
        self.data = {split: self.data_of(split) for split in found.splits}

    def settle(self) -> str:
        """Choose, the rest by the work and the memory of a step, and give the text of the config."""
        self.size, self.patch = self.choose_size()
        self.effective = self.choose_effective(self.images, 1024 if self.full else 64)
        draft = self.files.tried(self.text(self.effective, 1, 1, 1), ('train', 'val'))
        cost = Cost.of(draft)
        batch = self.choose_batch(self.effective, cost)
        few = self.images < 2000
        epochs = self.choose_epochs(self.images, 200 if few else 100, cost, "twice the recipe's, for there are few images" if few
                                    else "the recipe's")
        return self.text(batch, epochs, self.choose_interval(epochs, 'epochs'), self.choose_workers())

    def text(self, batch: int, epochs: int, interval: int, workers: int) -> str:
        """The config."""
        steps = max(epochs * (self.images // self.effective), 1)
        rate, share = (1e-3, 0.3) if self.full and self.is_deep else (1.5e-3, 0.2)  # of the release for large and base
        lr = self.choose('lr', rate * self.effective / 256 if self.full else 1e-3 * (self.effective / 64)**0.5,
                         f"the release's {rate:g} for 256 images, in proportion" if self.full else
                         '0.001 of small models for 64 images, by the root of their number')
        images = dict(type='MultiLabelDataset' if self.found.several else 'CustomDataset', data_root=str(self.found.root),
                      metainfo=Code('dict(classes=classes)'))
        return text_of([
            *header(self.title(), self.files.path),
            *base_lines('models/nepa_classifier', 'datasets/own_classes',
                        f'schedules/finetune_bs{1024 if self.full else 64}_adamw', 'default_runtime'),
            *self.classes, f'images = {call("dict", **images)}', '', *self.model_lines(), '', *self.pipeline_lines(),
            f'train_dataloader = dict(batch_size={batch}, num_workers={workers}, dataset={self.dataset("train")})',
            f'val_dataloader = dict(dataset={self.dataset("val")})',
            'test_dataloader = val_dataloader' if 'test' not in self.data else
            f'test_dataloader = dict(_base_.val_dataloader, dataset={self.dataset("test")})', *self.metric_lines(), '',
            f'auto_scale_lr = dict(base_batch_size={self.effective})  # reached by accumulation on any number of GPUs',
            f'optim_wrapper = dict(optimizer=dict(lr={lr:.3g}))',
            f'param_scheduler = dict(decay={self.choose_decay()}, warmup={max(epochs * share, 0.1):g}, layerwise_warmup=True, '
            f'end={epochs})',
            f'train_cfg = dict(max_epochs={epochs}, val_interval={interval})', *(self.average_lines(steps) if self.full else []),
            f'default_hooks = dict(logger=dict(interval={max(min(steps // 20, 100), 1)}), checkpoint=dict(interval={interval}))'])

    def title(self) -> str:
        said = ', '.join(f'{len(self.found.splits[split])} to {verb}' for split, verb in VERBS.items() if split in self.data)
        return f'Classes of images in {self.found.root}: {self.count} classes, {said}.'

    def data_of(self, split: str) -> dict[str, str]:
        """Arguments of a split's dataset; where folders do not say all, a list is added to the files."""
        if self.found.folders is not None:
            return dict(data_prefix=self.found.folders[split])
        root, items = self.found.root, self.found.splits[split]
        if self.found.several:
            end = f'{split}.json'
            rows = [dict(img_path=str(path.relative_to(root)), gt_label=list(labels)) for path, labels in items]
            self.files.lists[end] = json.dumps(dict(metainfo={}, data_list=rows), indent=0)
        else:
            end = f'{split}.txt'
            self.files.lists[end] = ''.join(f'{path.relative_to(root)} {labels[0]}\n' for path, labels in items)
        return dict(ann_file=self.files.beside(end))

    def dataset(self, split: str) -> str:
        """Of a split, with the pipeline of a training or a test."""
        steps = '_base_.' * (not self.pipeline_lines()) + ('train' if split == 'train' else 'test') + '_pipeline'
        return call('dict', **self.data[split], pipeline=Code(steps)).replace('dict(', 'dict(images, ', 1)

    def model_lines(self) -> list[str]:
        """Of the model."""
        rate = 0.2 if self.is_deep else 0.1 if self.start.sizes['num_layers'] == 12 else None
        fresh = dict(frozen_stages=-1, layer_scale_init_value=0.1) if self.start.address is None else {}
        if self.is_adapted:
            fresh = dict(frozen_stages=-1)  # what was not trained for these channels has to train
        backbone = self.backbone(self.size, self.patch, drop_path_rate=rate if self.full else None, **fresh)
        head = dict(num_classes=self.count, in_channels=self.start.sizes['embed_dims'])
        if self.found.several:
            head = dict(type='MultiLabelLinearClsHead', **head, loss=dict(use_soft=False, use_sigmoid=True))
        preprocessor = dict(num_classes=self.count)
        if self.bands is not None:
            preprocessor.update(self.normalization, to_rgb=False)
        elif self.full:  # timm's numbers, of pixels in [0, 1]
            preprocessor.update({f'timm_{key}': values for key, values in self.pixels().items()})
        else:
            preprocessor.update(dict(mean=[127.5] * 3, std=[127.5] * 3) | self.start.pixels, to_rgb=True)
        mixes = f'dict(augments=[dict(_base_.model.train_cfg.augments[0], num_classes={self.count})])'
        return ['model = dict(', f'    data_preprocessor={code(preprocessor)},', f'    backbone={code(backbone)},',
                f'    head={code(head)},', f'    train_cfg={mixes if self.full and not self.found.several else None})']

    def pixels(self) -> dict[str, list[float]]:
        """Mean and standard deviation of the weights, of pixels in [0, 1], where they are not the recipe's."""
        return {key: [round(value / 255, 6) for value in values] for key, values in self.start.pixels.items()}

    def pipeline_lines(self) -> list[str]:
        """Pipelines of other sizes or pixels than the base's, or a few transforms for a short training."""
        size, pixels = self.size, self.start.pixels
        if self.bands is not None:
            return self.band_lines()
        if self.full and size == 224 and not pixels:
            return []
        if self.full:
            return [f'pixels = {call("dict", input_size=size, **self.pixels())}',
                    *(f"{name} = [dict(step, **pixels) if 'input_size' in step else step for step in _base_.{name}]"
                      for name in ('train_pipeline', 'test_pipeline'))]
        crop = dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.3, 1.0), **PILLOW)
        resize, middle = dict(type='ResizeEdge', scale=size, **PILLOW), dict(type='CenterCrop', crop_size=size)
        return ["load, pack = dict(type='nepa_mm.LoadImage'), dict(type='PackInputs')",
                f"train_pipeline = [load, {code(crop)}, dict(type='RandomFlip', prob=0.5), pack]",
                f'test_pipeline = [load, {code(resize)}, {code(middle)}, pack]']

    def band_lines(self) -> list[str]:
        """Pipelines of images that are not RGB: a crop and a flip."""
        size = self.size
        crop = dict(type='nepa_mm.RandomResizedCropFlip', size=size, scale=(0.08 if self.full else 0.3, 1.0))
        resize = dict(type='nepa_mm.ResizeEdge', scale=int(size / 0.875) if self.full else size, **PILLOW)
        if self.full and LEFT_OUT not in self.remarks:
            self.remarks.append(LEFT_OUT)
        return [f"load, pack = {code(self.load)}, dict(type='PackInputs')", f'train_pipeline = [load, {code(crop)}, pack]',
                f"test_pipeline = [load, {code(resize)}, {code(dict(type='CenterCrop', crop_size=size))}, pack]"]

    def metric_lines(self) -> list[str]:
        """Of accuracy, or of the scores of several labels."""
        if self.found.several:
            return ["val_evaluator = test_evaluator = [dict(type='AveragePrecision'), dict(type='MultiLabelMetric')]"]
        return [f"val_evaluator = test_evaluator = dict(type='Accuracy', topk={(1, 5) if self.count >= 10 else 1})"]
