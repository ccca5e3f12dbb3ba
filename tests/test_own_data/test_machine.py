"""The machine that a config is chosen for."""
from nepa_mm.own_data import machine


def test_memory_is_that_of_the_container(monkeypatch, tmp_path):
    whole = machine.host_memory()
    for text, memory in (('max\n', whole), (f'{2**30}\n', 2**30), (f'{whole * 2}\n', whole)):
        (tmp_path / 'memory.max').write_text(text)
        monkeypatch.setattr(machine, 'LIMITS', (tmp_path / 'memory.max', tmp_path / 'none'))
        assert machine.host_memory() == memory == machine.Machine.here(cpu=True).memory
