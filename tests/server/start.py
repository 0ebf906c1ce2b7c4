"""The command line of MLServer, ended with the process that started it: `start.py start FOLDER`."""

import os
import threading
import time

from mlserver.cli import main


def end_with(parent: int) -> None:
    """End this process when it has another parent: the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    main()
