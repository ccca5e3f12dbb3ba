"""The model to export, from a config and a checkpoint or from a checkpoint alone, with what its users have to know."""
import logging
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader

from nepa_mm.apis import get_model
from nepa_mm.apis.untrusted_config import without_init
from nepa_mm.checkpoints.preprocessing import Preprocessing, input_size, pixels_of, preprocessing_of
from nepa_mm.checkpoints.storage.files import about
from nepa_mm.errors import CheckpointError, ConfigError, first_line
from nepa_mm.launch.read_config import read_config
from nepa_mm.models.fit_model import fit_model, require_all

BACKBONE = 'model.backbone.'


@dataclass
class Source:
    """A loaded model in evaluation mode."""
    model: BaseModel
    config: Config
    address: str
    classes: list[str] | None

    @property
    def channels(self) -> str:
        """Order of the channels that the network sees."""
        pixels = pixels_of(self.config)
        if pixels is None:  # mm reads images as BGR
            preprocessor = preprocessor_config(self.config)
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
        if hasattr(self.model, 'encode_decode'):  # windows of an image
            return None
        try:
            return preprocessing_of(self.config)
        except CheckpointError as error:
            print_log(f'the metadata do not say how images are prepared: {error.what}', 'current', logging.WARNING)
            return None

    @property
    def input_channels(self) -> int:
        """Channels of an image."""
        return int(self.config.model.backbone.get('in_channels', 3))


def preprocessor_config(config: Config) -> dict:
    return config.model.get('data_preprocessor') or config.get('data_preprocessor') or {}


def load_source(address: str, checkpoint: str | None = None, options: dict | None = None,
                out_type: str | None = None) -> Source:
    """The model of a config file and a checkpoint, or of a checkpoint that says what it is of.

    Args:
        address: A config file (.py), or what :func:`nepa_mm.get_model` takes.
        checkpoint: With a config file, whose weights are loaded; all that the model has must be there.
        options: Settings of the config to override, by their dotted keys; of a checkpoint alone, those of its backbone.
        out_type: Of the backbone, instead of the config's.

    Raises:
        ConfigError: If there is no such config, the two arguments do not go together, or no model can be built.
        CheckpointError: If the checkpoint does not fit.
    """
    options = {**(options or {}), **({} if out_type is None else {f'{BACKBONE}out_type': out_type})}
    if address.endswith('.py'):
        if checkpoint is None:
            raise ConfigError('a config has no weights', address, 'give a checkpoint after it')
        return from_config(address, checkpoint, options, partly=out_type is not None)
    if checkpoint is not None:
        raise ConfigError('it is no config file (.py)', address, 'give CONFIG CHECKPOINT, or a checkpoint alone')
    foreign = [key for key in options if not key.startswith(BACKBONE)]
    if foreign:
        raise ConfigError(f'{foreign[0]}: of a checkpoint alone {BACKBONE}* can be set', '--cfg-options',
                          'give its config for others')
    model = get_model(address, **{key.removeprefix(BACKBONE): value for key, value in options.items()})
    return Source(revert_sync_batchnorm(model), model._config, address, classes_of(model._dataset_meta))


def from_config(path: str, address: str, options: dict, partly: bool) -> Source:
    """The model of a config file; ``partly`` lets heads be left out that nothing is exported of."""
    config = read_config(path, options)
    if not isinstance(config.get('model'), dict):
        raise ConfigError('it has no model', path, 'give the config of a model')
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
        try:
            model = MODELS.build(Config(dict(model=without_init(config.model))).model)
        except ConfigError:
            raise
        except Exception as error:  # of many kinds, as the arguments of the hosts' models
            raise ConfigError(f'its model cannot be built ({first_line(error)})', path,
                              'mend the config, or give another') from error
    with about(address):
        loaded = CheckpointLoader.load_checkpoint(address, 'cpu', logger='silent')
        weights = loaded.get('state_dict', loaded)
        fit = fit_model(model, weights)
        if fit.available and not partly:
            require_all(fit, 'an export')
        model.load_state_dict(weights, strict=not (partly or fit.available))
    model.train(False)
    meta = loaded.get('meta') if isinstance(loaded.get('meta'), dict) else {}
    return Source(revert_sync_batchnorm(model), config, address, classes_of(meta.get('dataset_meta')))


def classes_of(dataset_meta) -> list[str] | None:
    """Names of the classes, where a checkpoint carries them."""
    names = dataset_meta.get('classes') if isinstance(dataset_meta, dict) else None
    return None if names is None else [str(name) for name in names]
