"""The NVIDIA driver, and why torch does not use a GPU that is there."""
import ctypes

from .finding import Unfit


def driver_s_cuda() -> str | None:
    """The newest CUDA that the NVIDIA driver knows; None without a driver or a GPU, Unfit if the driver fails."""
    try:
        cuda = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return None
    number = ctypes.c_int()
    code = cuda.cuInit(0)
    if code == 100 or (code == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0 and number.value == 0):
        return None
    if code != 0:
        raise Unfit(f'the NVIDIA driver fails (cuInit gives {code})',
                    'see whether nvidia-smi works; if not, restart the machine or install the driver anew')
    cuda.cuDriverGetVersion(ctypes.byref(number))
    return f'{number.value // 1000}.{number.value % 1000 // 10}'


def no_gpu(driver: str, built: str | None, torch: str) -> Unfit:
    """Why torch does not use a GPU that is there."""
    if built is None:
        return Unfit(f'a GPU is here, and torch {torch} is built for the CPU',
                     f'pip install --force-reinstall torch=={torch.partition("+")[0]} torchvision, of a build for CUDA '
                     f'{driver.split(".")[0]}: https://pytorch.org/get-started/locally')
    if int(driver.split('.')[0]) < int(built.split('.')[0]):  # of one major version, drivers run all
        return Unfit(f'torch {torch} is built for CUDA {built}, and the driver knows CUDA {driver} at most',
                     f'update the NVIDIA driver, or install a torch built for CUDA {driver.split(".")[0]}: '
                     'https://pytorch.org/get-started/locally')
    return Unfit(f'a GPU is here (driver for CUDA {driver}), and torch {torch} cannot use it',
                 'see what python -c "import torch; torch.cuda.init()" says')
