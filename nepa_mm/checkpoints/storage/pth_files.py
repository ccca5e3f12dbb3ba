"""Files as torch.save writes them, tensor by tensor: a conversion of any size needs the memory of its largest tensor."""
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from mmap import mmap
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import torch
from torch import Tensor

from .background import tensors_in
from .safetensors_files import tensor_bytes


def write_pth(path: Path, tensors: Mapping[str, Tensor], meta: dict) -> None:
    """What ``torch.save`` writes of ``meta`` and ``state_dict``, tensor by tensor."""
    places = {name: untouched(tensors[name]) for name in tensors}
    write_frame(path, dict(meta=meta, state_dict=places), {key_of(place): lambda name=name: tensors[name]
                                                           for name, place in places.items()})


def write_frame(path: Path, frame: dict, makers: Mapping[int, Callable[[], Tensor]]) -> None:
    """What ``torch.save`` writes of a nested dict, with check sums that ``unzip -t`` finds right.

    PyTorch writes the frame, with the place of each tensor left open (``skip_data``; before 2.6 it fills them), and its parts go
    to the file one by one. The content alone decides every byte: PyTorch would name the parts after the file, and number it.

    Args:
        frame: With tensors that are there, and :func:`untouched` ones in place of those that are not yet.
        makers: By :func:`key_of` the place, what makes a tensor; each is asked once.
    """
    contents = list({key_of(tensor): tensor for tensor in tensors_in(frame)}.items())  # as PyTorch numbers them
    draft = path.with_name(f'{path.name}.frame')
    try:
        with getattr(torch.serialization, 'skip_data', nullcontext)():
            torch.save(frame, draft)
        with ZipFile(draft) as source, ZipFile(path, 'w') as archive:
            for entry in source.infolist():
                inner = entry.filename.partition('/')[2]
                if inner == '.data/serialization_id':
                    continue
                number = inner.removeprefix('data/')
                content = source.read(entry) if not number.isdigit() else bytes_of(*contents[int(number)], makers)
                write_part(archive, f'archive/{inner}', content)
    finally:
        draft.unlink(missing_ok=True)


def key_of(tensor: Tensor) -> int:
    """What PyTorch tells the memory of tensors apart by as it saves them."""
    return tensor.untyped_storage()._cdata


def bytes_of(key: int, tensor: Tensor, makers: Mapping[int, Callable[[], Tensor]]) -> memoryview:
    """The memory of a tensor that is there, or of one that is made."""
    if key in makers:
        return tensor_bytes(makers[key]())
    return tensor_bytes(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()))


def untouched(like: Tensor) -> Tensor:
    """One of its shape and kind, in pages of its own that take no memory before they are written to."""
    if not like.nbytes:
        return torch.empty(like.shape, dtype=like.dtype)
    return torch.frombuffer(mmap(-1, like.nbytes), dtype=torch.uint8).view(like.dtype).view(like.shape)


def write_part(archive: ZipFile, name: str, content: bytes | memoryview) -> None:
    """Add a part to a zip file, as it is, from a multiple of 64 bytes on, as PyTorch does so that it can be mapped to memory."""
    part = ZipInfo(name)  # of 1980
    begin = archive.fp.tell() + 30 + len(name) + 4  # its header, and that of the padding
    padding = -begin % 64
    part.extra = b'FB' + padding.to_bytes(2, 'little') + bytes(padding)
    part.file_size = len(content)
    with archive.open(part, 'w') as file:
        file.write(content)
