"""The tutorial does what it shows: each file and command of the page, with the output there."""

import asyncio
import os
import pty
import re
import signal
import sys
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.programs import PATIENCE, ROOT, Program

PAGE = ROOT / "docs" / "tutorial.md"
BIN = Path(sys.executable).parent
BLOCK = re.compile(
    r"(?:`(?P<file>[\w.]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
UNSTABLE = {
    r"\x1b\[[\d;?]*[A-Za-z]": "",
    r"\b[0-9a-f]{12,}…?": "<id>",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ": "<time>",
    r"\b(in )?\d+(\.\d+)? ?(ms|s|m|h|d)\b( ago)?": "<span>",
    r" +": " ",
    r" +$": "",
}
# A control character: no command of the page prints it.
END = "\x1e"


class Command(NamedTuple):
    line: str
    shown: list[str]


class Ran(NamedTuple):
    output: list[str]
    code: int


class Bash:
    """A shell at a terminal. What it says on standard error is read beside that."""

    def __init__(self, stdin: asyncio.StreamWriter, *outputs: asyncio.StreamReader) -> None:
        self._stdin = stdin
        self._stdout, self._stderr = outputs

    async def run(self, line: str) -> Ran:
        """Run a line, and leave its exit code to the next."""
        mark = r"code=$?; printf '\036%d\036' $code; printf '\036' >&2; (exit $code)"
        self._stdin.write(f"{line}\n{mark}\n".encode())
        async with asyncio.timeout(PATIENCE):
            output = await self._until_end(self._stdout)
            code = int(await self._until_end(self._stdout))
            return Ran((output + await self._until_end(self._stderr)).splitlines(), code)

    async def _until_end(self, stream: asyncio.StreamReader) -> str:
        return (await stream.readuntil(END.encode())).decode().removesuffix(END)


@asynccontextmanager
async def bash_at_terminal(home: Path, columns: int = 100) -> AsyncIterator[Bash]:
    """Run a shell whose standard output is a terminal so wide."""
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    process = await asyncio.create_subprocess_exec(
        "bash", "--norc", cwd=ROOT, env=env, stdin=PIPE, stdout=theirs, stderr=PIPE
    )
    os.close(theirs)
    side = asyncio.StreamReader()
    with os.fdopen(ours, "rb", buffering=0) as file:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(side), file
        )
        try:
            yield Bash(process.stdin, side, process.stderr)
        finally:
            process.stdin.write(b"kill $(jobs -p) 2> /dev/null; wait\n")
            process.stdin.close()
            await process.wait()
            transport.close()


def commands(text: str) -> Iterator[Command]:
    """Give the commands of a block, each with the output below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        yield Command(line, shown)


def stable(lines: list[str]) -> str:
    """Give what is the same each time."""
    text = "".join(f"{line}\n" for line in lines)
    for pattern, instead in UNSTABLE.items():
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def assert_shown(shown: list[str], output: list[str]) -> None:
    """Compare output with that of the page, where ``...`` stands for any lines."""
    expected = re.escape(stable(shown)).replace(re.escape("...\n"), "(.*\n)*")
    assert re.fullmatch(expected, stable(output)), f"expected {shown}, got {output}"


async def follow(block: list[Command], bash: Bash, folder: Path) -> None:
    """Run the commands of a block: each succeeds, unless the page goes on to show its code."""
    for command, after in zip(block, [*block[1:], Command("", [])], strict=True):
        ran = await bash.run(command.line)
        assert_shown(command.shown, ran.output)
        code = int(after.shown[0]) if after.line == "echo $?" else 0
        assert code == ran.code, f"{command.line}: {ran}"
        if log := re.search(r"2> (\S+) &$", command.line):
            async with Program("tail", "-n", "+1", "-F", folder / log[1]) as written:
                await written.line_with("runtime ready")


async def test_the_tutorial_can_be_followed(tmp_path):
    demo, dev, *rest = BLOCK.finditer(PAGE.read_text())
    assert ["make demo"] == [command.line for command in commands(demo["text"])]
    (start,) = commands(dev["text"])
    assert start.line == ".venv/bin/colonies dev"
    first = {"HOME": str(tmp_path), "COLONIES_SERVERPORT": "0"}
    async with (
        Program(BIN / "colonies", "dev", env=first) as hub,
        bash_at_terminal(tmp_path) as bash,
    ):
        await hub.line_with("export COLONIES_TLS")
        exports = [line for line in hub.lines if line.startswith("export ")]
        assert start.shown == [exports[0], "export COLONIES_SERVERPORT=50080", "..."]
        assert Ran([], 0) == await bash.run("\n".join(exports))
        for block in rest:
            if block["language"] == "console":
                await follow(list(commands(block["text"])), bash, tmp_path / "tutorial")
            else:
                (tmp_path / "tutorial" / block["file"]).write_text(block["text"])
        hub.send(signal.SIGINT)
        assert 0 == await hub.finish()
