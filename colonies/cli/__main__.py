"""``python -m colonies.cli``: the command line where its script is not on the path."""

from colonies.cli import main

main()
