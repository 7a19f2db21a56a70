"""`python -m cimemu` and the `cimemu` console script."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from cimemu.cli import main as cli_main

        status = cli_main()
    except KeyboardInterrupt:  # while modules were still being read, or twice
        print("cimemu: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
