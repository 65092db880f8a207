"""From the bytes of a stream to text that can be kept: whole lines if they come, nothing lost.

What is no UTF-8 becomes U+FFFD, and so does NUL. Of a line that was written over, as progress bars
are, what a terminal would show at last is kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from colonies.core.log import NewEntry

LONGEST_LINE = 16_384
"""Bytes after which a line is not waited for any more, but said in parts."""

LONGEST_TEXT = 32_768
"""Bytes of one text."""


class SaidStream:
    """One stream of an attempt, of which texts are cut off; each is counted by its bytes."""

    def __init__(self, name: str, start: int = 0) -> None:
        self.name = name
        self.end = start
        """Where what was taken in ends, said or not, wherever it waits."""
        self.since: float | None = None
        """When the line began to be waited for of which there is a part."""
        self._rest = bytearray()
        self._start = start  # of the next text
        self._reached = start  # the end of the rest
        self._is_mid_line = False
        self._was_returned = False

    @property
    def waiting(self) -> int:
        """The bytes of a line that is not whole."""
        return len(self._rest)

    def cut(self, offset: int, data: bytes, now: float) -> Iterator[NewEntry]:
        """Take what begins at an offset, and give the lines that are whole with it."""
        if offset != self._reached:  # some was left out in between
            yield from self.flush()
            self._start = self._reached = offset
        self._rest += data
        self._reached += len(data)
        while len(self._rest) > LONGEST_TEXT:
            yield from self._say(self._rest.rfind(b"\n", 0, LONGEST_TEXT) + 1 or LONGEST_TEXT)
        yield from self._say(self._rest.rfind(b"\n") + 1)
        if len(self._rest) > LONGEST_LINE:
            yield from self._say(len(self._rest))
        self.since = (self.since or now) if self._rest else None

    def flush(self) -> Iterator[NewEntry]:
        """Give what there is of a line, as it will not become whole soon."""
        yield from self._say(len(self._rest), is_final=True)
        self.since = None

    def _say(self, length: int, *, is_final: bool = False) -> Iterator[NewEntry]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text = decoder.decode(self._rest[:length], final=is_final)
        if not is_final:  # half of a character waits for the other half
            length -= len(decoder.getstate()[0])
        shown = self._shown(text.replace("\0", "\ufffd"))
        end = self._reached - len(self._rest) + length
        del self._rest[:length]
        if shown:  # else its bytes are counted with those of the next text
            yield NewEntry(stream=self.name, offset=self._start, size=end - self._start, text=shown)
            self._start = end

    def _shown(self, text: str) -> str:
        """Give a text as a terminal would show it that has shown what came before."""
        if text and ("\r" in text or self._was_returned):
            lines = text.replace("\r\n", "\n").split("\n")
            text = "\n".join([self._first(lines[0]), *(_last_shown(line) for line in lines[1:])])
            is_returned = lines[-1].endswith("\r")
            self._was_returned = is_returned or (lines == [""] and self._was_returned)
        if text:
            self._is_mid_line = not text.endswith("\n")
        return text

    def _first(self, line: str) -> str:
        """Give what is shown of a line of which a part may be on the screen."""
        shown = _last_shown(line)
        is_over = self._was_returned or "\r" in line.rstrip("\r")
        return f"\r{shown}" if shown and is_over and self._is_mid_line else shown


def _last_shown(line: str) -> str:
    line = line.rstrip("\r")
    return line[line.rfind("\r") + 1 :]
