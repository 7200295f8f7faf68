"""``python -m queueactors``, and the script ``queueactors``."""

import sys

from queueactors.cli._early import take_signals


def main() -> None:
    """Run the command line; ``run`` heeds signals before anything that takes time is imported."""
    if sys.argv[1:2] == ["run"]:
        take_signals()
    try:
        from queueactors.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    main()
