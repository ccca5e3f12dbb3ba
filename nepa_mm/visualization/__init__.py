from .continuation import PatchBank, continuations, draw_continuations, roll_forward
from .patch_maps import PatchMaps
from .query_patches import draw_query_patches
from .segmentation import draw_segmentation
