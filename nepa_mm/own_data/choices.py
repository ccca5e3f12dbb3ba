"""Settings of a training, each with its reason; an option of the command takes the place of what would be chosen."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GIVEN = 'as given'


@dataclass(frozen=True)
class Choice:
    """A setting by the name of its option."""
    option: str
    value: Any
    why: str


@dataclass
class Choices:
    """What was chosen so far, in order; calling it chooses.

    Args:
        given: Values of options that the command was given, by their names.
    """
    given: Mapping[str, Any] = field(default_factory=dict)
    made: dict[str, Choice] = field(default_factory=dict)

    def __call__(self, option: str, value: Any, why: str) -> Any:
        """The value of a setting: what was given for it, or else ``value``, for which there is a reason."""
        if self.given.get(option) is not None:
            value, why = self.given[option], GIVEN
        self.made[option] = Choice(option, value, why)
        return value

    def say(self, option: str, why: str) -> None:
        """Give a choice that is made another reason."""
        self.made[option] = Choice(option, self.made[option].value, why)


def power_of_two(most: float, least: int = 1) -> int:
    """The largest power of two up to ``most``, and ``least`` where that is larger."""
    return max(1 << max(int(most), 1).bit_length() - 1, least)
