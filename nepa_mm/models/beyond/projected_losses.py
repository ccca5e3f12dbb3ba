"""Several losses of the same predictions and targets, in a small space of their own (arXiv 2607.00958)."""
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS


@MODELS.register_module()
class Projector(nn.Sequential):
    """Two linear layers from the embeddings' width to a smaller one, for training alone.

    Args:
        in_channels: Width of the embeddings.
        hidden_channels: Width between the two.
        out_channels: Width of the space in which losses are taken.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__(nn.Linear(in_channels, hidden_channels), nn.LayerNorm(hidden_channels), nn.GELU(),
                         nn.Linear(hidden_channels, out_channels))


@MODELS.register_module()
class ProjectedLosses(nn.Module):
    """The sum of several losses; predictions and targets go through one projector, which is thrown away after training.

    arXiv 2607.00958 has the mean squared error and :class:`SIGReg` here, and no stop-gradient.

    Args:
        losses: Configs or modules; each takes predictions and targets [B, L, D] and gives numbers by name, and those with
            ``loss`` in the name are summed.
        projector: Config or module, such as :class:`Projector`; None leaves both as they are.

    Raises:
        ConfigError: At the first call, if two losses give numbers of one name.
    """

    def __init__(self, losses: list[dict | nn.Module], projector: dict | nn.Module | None = None) -> None:
        super().__init__()
        self.losses = nn.ModuleList(built(loss) for loss in losses)
        self.projector = nn.Identity() if projector is None else built(projector)

    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """All numbers of all losses, of predictions and targets [B, L, D] (batch, tokens, width)."""
        prediction, target = self.projector(prediction), self.projector(target)
        found = {}
        for loss in self.losses:
            numbers = loss(prediction, target)
            if twice := found.keys() & numbers.keys():
                raise ConfigError(f'two losses give {sorted(twice)}', 'model.head.losses',
                                  'take one of them, or rename its numbers')
            found.update(numbers)
        return found


def built(module: dict | nn.Module) -> nn.Module:
    return module if isinstance(module, nn.Module) else MODELS.build(module)
