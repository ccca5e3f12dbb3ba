"""All that is made of mmseg's classes, which pretraining and classification do without: imported once one is asked for."""
from .dm_head import DMHead
from .eomt import EoMT, EoMTHead
from .multi_head import MultiHeadEncoderDecoder, NamedHeads
from .seg_preprocessor import SegDataPreProcessor
from .segmentors import PaddedCascadeEncoderDecoder, PaddedEncoderDecoder, SegTTAModel
from .vit_adapter import AdaptedEncoderDecoder, ViTAdapter
from .windows import EncoderDecoder
