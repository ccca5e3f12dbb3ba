"""The model to export, with what its users have to know."""
import logging
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel, revert_sync_batchnorm

from nepa_mm.apis.load_model import load_model
from nepa_mm.checkpoints.preprocessing import Preprocessing, bands_in, input_size, pixels_of, preprocessing_of
from nepa_mm.errors import CheckpointError


@dataclass
class Source:
    model: BaseModel
    config: Config
    address: str
    classes: list[str] | None

    @property
    def channels(self) -> str:
        """Order of the channels that the network sees; 'file' for that of the files."""
        if self.are_bands:
            return 'file'
        pixels = pixels_of(self.config)
        if pixels is None:  # mm reads images as BGR
            preprocessor = self.config.model.get('data_preprocessor') or self.config.get('data_preprocessor') or {}
            return 'RGB' if preprocessor.get('to_rgb') or preprocessor.get('bgr_to_rgb') else 'BGR'
        return pixels['channels']

    @property
    def mean_std(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of each channel, of pixels from 0 to 255; None if the config has none."""
        pixels = pixels_of(self.config)
        return None if pixels is None else (pixels['mean'], pixels['std'])

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images that the config tests with or else trains on; of the crop, for segmentation."""
        return input_size(self.config)

    @property
    def images(self) -> Preprocessing | None:
        """How they are resized and cropped; None where the config does not say, or more than that is done."""
        if hasattr(self.model, 'encode_decode') or self.are_bands:  # windows of an image; what no processor of RGB reads
            return None
        try:
            return preprocessing_of(self.config)
        except CheckpointError as error:
            print_log(f'the metadata do not say how images are prepared: {error.what}', 'current', logging.WARNING)
            return None

    @property
    def are_bands(self) -> bool:
        """Whether images are not RGB."""
        return bands_in(self.config) is not None

    @property
    def input_channels(self) -> int:
        return int(self.config.model.backbone.get('in_channels', 3))


def load_source(address: str, checkpoint: str | None = None, options: dict | None = None,
                out_type: str | None = None) -> Source:
    """The model that :func:`nepa_mm.apis.load_model.load_model` loads from these arguments."""
    return source_of(load_model(address, checkpoint, options, out_type), checkpoint or address)


def source_of(model: BaseModel, address: str) -> Source:
    """A loaded model with its config and the names of its classes, where it carries them."""
    names = model.dataset_meta.get('classes')
    return Source(revert_sync_batchnorm(model), model._config, address, None if names is None else [str(name) for name in names])
