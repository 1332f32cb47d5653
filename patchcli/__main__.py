"""``python -m patchcli``."""

from patchcli.cli import main

if __name__ == "__main__":
    main()
