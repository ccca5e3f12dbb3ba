"""Archives are data: from the import of nepa_mm on, none writes outside its folder."""
import tarfile

from nepa_mm.errors import DataError


def plain_member(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member of a tar archive, if it and what it links to lie in the folder, and it is no device; else DataError."""
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError as error:
        raise DataError(f'{member.name!r} of a tar archive is not unpacked: {error}', folder, 'do not use the archive') from error


if hasattr(tarfile, 'data_filter'):  # not in the first releases of Python 3.10 and 3.11; 3.14 has it for a default
    tarfile.TarFile.extraction_filter = staticmethod(plain_member)
