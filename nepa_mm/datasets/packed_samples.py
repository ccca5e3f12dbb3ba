"""Data samples on their way from a worker, as columns: one by one they cost the training process more than the pixels."""
from collections.abc import Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

FIELDS = ('_metainfo_fields', '_data_fields')  # of mmengine's BaseDataElement: names of what is in it


class PackedSamples(list):
    """The data samples of a batch. It is a list of them, and what comes out of a pickle of it is one."""

    def __reduce__(self) -> tuple:
        are_alike = len({(type(sample), *vars(sample), *map(frozenset, fields(sample))) for sample in self}) == 1
        keys = [key for key in vars(self[0]) if key not in FIELDS] if are_alike else []
        if not keys:  # or they hold nothing, and no column says how many they are
            return list, (list(self), )
        return unpacked, (type(self[0]), fields(self[0]), keys, [column([vars(sample)[key] for sample in self]) for key in keys])


def fields(sample: BaseDataElement) -> tuple[set, set]:
    """Names of meta information and of data."""
    return sample._metainfo_fields, sample._data_fields


def column(values: Sequence) -> list | Tensor:
    """Values of one name: tensors of one kind as one tensor."""
    first = values[0]
    if type(first) is Tensor and all(
            type(value) is Tensor and (value.shape, value.dtype) == (first.shape, first.dtype) for value in values):
        return torch.stack(values)
    return values


def unpacked(kind: type, names: tuple[set, set], keys: list[str], columns: list) -> list:
    """The data samples again; as mmpretrain makes its own anew, past the setters."""
    samples = []
    for row in zip(*(values.unbind() if isinstance(values, Tensor) else values for values in columns)):
        sample = kind.__new__(kind)
        sample.__dict__.update(zip(FIELDS, map(set, names)))
        sample.__dict__.update(zip(keys, row))
        samples.append(sample)
    return samples
