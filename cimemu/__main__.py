"""`python -m cimemu` and the `cimemu` console script."""

import gc
import sys

# Modules and networks are many objects that stay: looking at them again and again takes a tenth of a short command's time.
YOUNG_OBJECTS = 200_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        from cimemu.cli import main as cli_main

        status = cli_main()
    except KeyboardInterrupt:  # while modules were still being read, or twice
        print("cimemu: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
