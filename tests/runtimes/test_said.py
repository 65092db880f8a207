"""From bytes to texts: whatever comes, and however it is cut."""

from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.said import LONGEST_TEXT, SaidStream

ORDINARY = st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])


def texts(*pieces: bytes, final: bool = True) -> list[str]:
    stream = SaidStream("stdout")
    entries = []
    for piece in pieces:
        entries += stream.cut(stream.end, piece, 0.0)
        stream.end += len(piece)
    if final:
        entries += stream.flush()
    reached = 0
    for one in entries:
        assert one.offset == reached
        reached = one.offset + one.size
    return [one.text for one in entries]


def test_lines_are_said_whole():
    assert texts(b"on", b"e\ntw", b"o\n") == ["one\n", "two\n"]
    assert texts(b"one\nno end", final=False) == ["one\n"]
    assert texts(b"one\nno end") == ["one\n", "no end"]


def test_what_is_no_text_is_replaced_and_halves_of_characters_wait():
    assert texts(b"a\xff\0b\n") == ["a\ufffd\ufffdb\n"]
    assert "".join(texts("öö\n".encode()[:1], "öö\n".encode()[1:])) == "öö\n"
    long = "ö" * LONGEST_TEXT
    assert "".join(texts(b"x" + long.encode())) == "x" + long


def test_of_a_line_that_is_written_over_the_last_is_kept():
    assert texts(b" 1%\r 2%\r100%\n") == ["100%\n"]
    assert texts(b"dos\r\nlines\r\n") == ["dos\nlines\n"]
    assert texts(b"done\r", b"\n") == ["done\n"]


def shown(pieces: list[str]) -> str:
    """Give the one line that a terminal has in the end."""
    line = ""
    for piece in "".join(pieces).rstrip("\n").split("\r"):
        line = piece + line[len(piece) :]
    return line


def test_a_line_that_is_written_over_later_is_on_a_terminal_too():
    stream = SaidStream("stderr")
    said = []
    for piece in (b" 10%\r", b" 20%\r", b" 30%", b"\r 40%\r", b"100%\n"):
        said += [*stream.cut(stream.end, piece, 0.0), *stream.flush()]
        stream.end += len(piece)
    assert [one.text for one in said] == [" 10%", "\r 20%", "\r 30%", "\r 40%", "\r100%\n"]
    assert shown([one.text for one in said]) == "100%"


def test_what_was_left_out_is_a_gap_in_the_offsets():
    stream = SaidStream("stdout")
    first = list(stream.cut(0, b"one\ntw", 0.0))
    later = list(stream.cut(1000, b"o\nlast\n", 0.0))
    assert [(one.offset, one.size, one.text) for one in [*first, *later]] == [
        (0, 4, "one\n"),
        (4, 2, "tw"),
        (1000, 7, "o\nlast\n"),
    ]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=50)))
def test_however_it_is_cut_every_byte_is_counted_once(pieces):
    texts(*pieces, b"end\n")


@settings(max_examples=50)
@given(st.text(alphabet=ORDINARY), st.data())
def test_however_it_is_cut_text_is_the_same(text, data):
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    ends = [*cuts, len(whole)]
    pieces = [whole[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    assert "".join(texts(*pieces)) == text
