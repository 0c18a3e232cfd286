"""Say which operators mmcv uses, put those of this package beside it, or take them away."""

import argparse
import sys

from .place import install, remove, status


def main(argv: list[str] | None = None) -> int:
    """Do as told, then say which operators mmcv uses; 1 where that is not what was wanted."""
    parser = argparse.ArgumentParser("python -m robustnet_mm.ops", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["status", "install", "remove"])
    action = parser.parse_args(argv).action
    try:
        if action in ("install", "remove"):
            install() if action == "install" else remove()
        usable, line = status()
    except (ModuleNotFoundError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{line}\n")
    return 0 if usable or action == "remove" else 1


if __name__ == "__main__":
    sys.exit(main())
