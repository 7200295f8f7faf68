"""``python -m queueactors``."""

from queueactors.cli import main

main()
