"""Attributes and their ids."""

from colonies.core.attribute import AttributeKind, attribute_id


def test_an_attribute_id_is_that_of_the_vectors():
    expected = "c83d765de177544af2ad7681e3ad16c9f513f9a87e4fdf33c9b108e653916152"
    assert attribute_id("0" * 64, "result", 1) == expected
    assert attribute_id("0" * 64, "result", AttributeKind.OUT) == expected


def test_the_kinds_have_the_numbers_of_v1():
    assert [kind.value for kind in AttributeKind] == [0, 1, 2, 3]
    assert AttributeKind.ENV == 3
