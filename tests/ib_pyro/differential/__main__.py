"""Count the verdicts of the table and of random programs, and write the compatibility page.

``python -m tests.ib_pyro.differential [NUMBER]`` judges so many random programs, 500 by default, 0 for none.
"""

import sys
import warnings
from collections import Counter

import pyro
import torch

from tests.ib_pyro.differential import programs
from tests.ib_pyro.differential.case import table
from tests.ib_pyro.differential.harness import judge
from tests.ib_pyro.differential.page import PAGE, compatibility_page
from tests.ib_pyro.differential.test_random_programs import judge_all

__all__: list[str] = []


def main(number: int) -> int:
    """Print the counts; return 1 if anything is wrong."""
    assert programs
    torch.set_default_dtype(torch.float64)
    pyro.enable_validation(True)
    found: Counter[str] = Counter()
    for case in table():
        with pyro.get_param_store().scope(), warnings.catch_warnings():
            warnings.simplefilter("error")
            verdicts = judge(case)
        wrong = {mode: verdict for mode, verdict in verdicts.items() if verdict.startswith("wrong")}
        if wrong:
            print(f"{case.name}: {wrong}")
        found["wrong" if wrong else "/".join((verdicts["error"], verdicts["monte-carlo"]))] += 1
    print(
        f"table: {found.total()} programs: {found['right/right']} right in closed form, "
        f"{found['refused/right']} right when sampled and refused otherwise, "
        f"{found['refused/refused']} refused, {found['wrong']} wrong"
    )
    if number:
        counts = judge_all(number)
        for mode in ("error", "monte-carlo"):
            print(
                f"random, {mode}: {number} programs: {counts[mode, 'right']} right, "
                f"{counts[mode, 'refused']} refused, 0 wrong"
            )
    PAGE.write_text(compatibility_page(table()))
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
