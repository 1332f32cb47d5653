"""``python -m patchcli`` and the command ``patchcli``."""

from __future__ import annotations

import gc
import os
import signal


def main() -> None:
    """Run the command line; until it is loaded, Ctrl-C just ends the process."""
    # Its threads spin when they begin, on the cores that other workers start on; large work has threads of our own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # until the command is loaded: what is imported stays, and to search it again and again takes 6 ms
    from patchcli.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
