"""The tables that the command prints."""
from pathlib import Path

from rich.console import Console

from nepa_mm.own_data.choices import Choices
from nepa_mm.own_data.machine import Machine
from nepa_mm.own_data.report import chosen_table, found_table


def test_brackets_in_names_are_no_markup(capsys):
    choose = Choices()
    choose('from', 'runs[best]/epoch_3.pth', 'the newest of runs[best]')
    console = Console(width=120)
    console.print(found_table(Path('photos[new]/[/x]'), [('images in a wide column', '3 in [old]')]))
    console.print(chosen_table(choose, Machine('a', 1, 1, False)))
    printed = capsys.readouterr().out
    assert 'found in photos[new]/[/x]' in printed and '3 in [old]' in printed
    assert printed.count('runs[best]') == 2
