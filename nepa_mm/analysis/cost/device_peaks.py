"""What devices can do at most, for the share of it that a training uses."""
import re

# Dense bfloat16 TFLOP/s and GiB of memory by words of the device's name, from the vendor's data sheets; no sparsity. The first
# that fits counts.
DEVICES = {
    'H200': (989, 141e9 / 2**30),
    'H100 PCIe': (756, 80),
    'H100 NVL': (835, 94),
    'H100': (989, 80),
    'GH200': (989, 96),
    'B200': (2250, 180),
    'A100': (312, 80),
    'A800': (312, 80),
    'L40S': (362, 48),
    'A40': (150, 48),
    'L4': (121, 24),
    'V100': (125, 32),  # float16
}
MEASURED = {'H200': 790, 'H100': 790}  # large matrix products reach no more on these


def peak_of(name: str) -> tuple[float, float] | None:
    """TFLOP/s and GiB of a device by its name, e.g. 'NVIDIA H100 80GB HBM3'; None for one that is not listed."""
    return next((peaks for known, peaks in DEVICES.items() if is_in(known, name)), None)


def reached_of(name: str) -> float | None:
    """TFLOP/s that large bfloat16 matrix products were measured to reach on a device."""
    return next((teraflops for known, teraflops in MEASURED.items() if is_in(known, name) and 'PCIe' not in name), None)


def is_in(words: str, name: str) -> bool:
    """Whether a name has these words, whole: an L40 is no L4, and an RTX A4000 no A40."""
    return re.search(rf'\b{words}\b', name) is not None
