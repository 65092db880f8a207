"""What the packages export is there, though it is imported by its first use."""

import pytest

import colonies
from colonies import client


@pytest.mark.parametrize("package", [colonies, client], ids=lambda package: package.__name__)
def test_everything_that_is_exported_is_there(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense
