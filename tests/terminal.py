"""A command in a pseudo-terminal, and what a person sees there."""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pyte
from forks import Process

from tiny import ROOT


class Terminal:
    """A terminal of so many columns and lines in which a command runs; ``screen`` is what it shows, ``text`` what it was sent.

    With ``forked`` a command of Python is forked from one that has done its imports.
    """

    def __init__(self, *command, columns=100, lines=40, forked=False, **env):
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.stream, self.text = pyte.ByteStream(self.screen), ''
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
        env = {'TERM': 'xterm', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **env}
        if forked:
            assert command[:3] == (sys.executable, '-W', 'ignore')
            self.process = Process(command[3:], ROOT, env, terminal=os.ttyname(slave))
        else:
            self.process = subprocess.Popen([str(part) for part in command], cwd=ROOT, env={**os.environ, **env}, stdin=slave,
                                            stdout=slave, stderr=slave)
        os.close(slave)

    def read(self):
        """The next piece of output; nothing at its end."""
        try:
            return os.read(self.master, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            return b''

    def hang_up(self):
        """As when a connection is lost."""
        os.close(self.master)

    def screens(self):
        """The screen after each piece of output, and the exit code in ``self.code`` at the end."""
        while data := self.read():
            self.stream.feed(data)
            yield self.lines()
        self.code = self.process.wait(timeout=200)

    def run(self):
        """Read all without a screen, which takes its time."""
        while data := self.read():
            self.text += data.decode()
        self.code = self.process.wait(timeout=200)

    def lines(self):
        """Lines on the screen that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def scrolled(self):
        """All lines so far, those too that left the screen at the top."""
        gone = [''.join(line[column].data for column in range(self.screen.columns)).rstrip() for line in self.screen.history.top]
        return gone + self.lines()
