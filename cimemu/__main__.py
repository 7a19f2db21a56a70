"""`python -m cimemu` and the `cimemu` console script."""

import sys


def main() -> None:
    """Run the command line."""
    from cimemu.cli import main as cli_main

    sys.exit(cli_main())


if __name__ == "__main__":
    main()
