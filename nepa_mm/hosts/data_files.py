"""YAML and archives, which are data: from the import of nepa_mm on, none runs code or writes outside its folder."""
import tarfile

import yaml
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import YamlHandler

from nepa_mm.errors import ConfigError, DataError

PlainLoader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


@register_handler(['yaml', 'yml'])
class PlainYamlHandler(YamlHandler):
    """mmengine's, of configs and lists of images, without the tags by which its loader makes any object and calls any function.

    Raises:
        ConfigError: For such a tag.
    """

    def load_from_fileobj(self, file, **kwargs):
        try:
            return super().load_from_fileobj(file, **{**kwargs, 'Loader': PlainLoader})
        except yaml.constructor.ConstructorError as error:
            raise ConfigError(
                f'no plain data: {error.problem}; nothing was run', 'a YAML file', 'write it without tags') from error


def plain_member(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member of a tar archive, if it and what it links to lie in the folder where it is unpacked, and it is no device.

    Raises:
        DataError: If not.
    """
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError as error:
        raise DataError(f'{member.name!r} of a tar archive is not unpacked: {error}', folder, 'do not use the archive') from error


if hasattr(tarfile, 'data_filter'):  # not in the first releases of Python 3.10 and 3.11; 3.14 has it for a default
    tarfile.TarFile.extraction_filter = staticmethod(plain_member)
