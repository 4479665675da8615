"""Entry point of ``python -m inference.studies.attack``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ib_pyro.choices import require_known
from inference.studies.attack.attack_rows import keep_row
from inference.studies.attack.attempts import attack
from inference.studies.attack.kinds import KINDS


def main() -> int:
    """Attack, and say what came of it; 1 if something was silent."""
    parser = argparse.ArgumentParser(description="Attack what this package promises.")
    parser.add_argument("kinds", nargs="*", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="time for all kinds together (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first attempt of each kind")
    parser.add_argument("--attempts", type=int, help="attempts of each kind, if not as many as time allows")
    parser.add_argument("--out", type=Path, help="CSV file to keep what came of each kind in, a row a kind")
    options = parser.parse_args()
    chosen = [KINDS[require_known("kind", name, KINDS)] for name in options.kinds or KINDS]
    silent = 0
    for kind in chosen:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ib_pyro-attack-") as folder:
            found = attack(
                kind,
                Path(folder),
                seed=options.seed,
                first=options.first,
                attempts=options.attempts,
                seconds=60 * options.minutes / len(chosen),
            )
        print(f"{kind.name}: {found}", flush=True)
        for text in found.silent:
            print(f"  SILENT {text}", flush=True)
        silent += len(found.silent)
        if options.out is not None:
            keep_row(options.out, kind, found, sys.argv[1:], time.monotonic() - start)
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
