"""YAML is data: from the import of nepa_mm on, none runs code."""
import yaml
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import YamlHandler

from nepa_mm.errors import ConfigError

PlainLoader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


@register_handler(['yaml', 'yml'])
class PlainYamlHandler(YamlHandler):
    """mmengine's, of configs and lists of images, without the tags by which its loader makes any object and calls any function.

    Such a tag ends in a ConfigError.
    """

    def load_from_fileobj(self, file, **kwargs):
        try:
            return super().load_from_fileobj(file, **{**kwargs, 'Loader': PlainLoader})
        except yaml.constructor.ConstructorError as error:
            raise ConfigError(
                f'no plain data: {error.problem}; nothing was run', 'a YAML file', 'write it without tags') from error
