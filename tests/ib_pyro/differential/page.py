"""The compatibility page of the documentation, made of the differential table."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.ib_pyro.differential.case import RIGHT, Case

__all__ = ["PAGE", "compatibility_page", "counts", "way_out"]

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"
SAMPLE = '`on_no_closed_form="monte-carlo"`, or `sampled_rates=[site]`'
WAYS_OUT = {
    r"enumerated|AutoDiscreteParallel": "relax or marginalise the discrete site; or `pyro.infer.TraceEnum_ELBO`",
    r"reparameterisation|has_rsample": "a law with `rsample`; or `pyro.infer.Trace_ELBO`",
    r"no rsample": "`pyro.factor(..., has_rsample=True)` where the factor is differentiable",
    r"poutine\.scale": "the same scale on both sides; a weight of the rate is `beta={site: ...}`",
    r"poutine\.mask|obs_mask": "the same `poutine.mask` around the site on both sides",
    r"infinite rate|prior with bounds": "a prior whose support covers the guide's",
    r"a guide that (samples|observes) the observed": "leave the data's site out of the guide",
    r"swapped": "`elbo.loss(model, guide, ...)`, in this order",
    r"conditioned on a latent|equalize": "leave the site out of the guide: `poutine.block(guide, hide=[site])`",
    r"that observes a latent": "leave `obs=` out of the guide; a point is a `Delta`",
    r"that the guide lacks|uncondition": "sample the site in the guide, or pass the data",
    r"that the model lacks": "`infer={'is_auxiliary': True}`",
    r"sampled twice": "a name for each site",
    r"event shapes|a plate in the|a batch dimension": "the same plates and `.to_event()` on both sides",
    r"vectorised on the other": "the same kind of plate on both sides",
    r"in the model alone": "the same `subsample_size` on both sides",
    r"a site that is fixed": "`pyro.deterministic`, or condition the model",
}
"""Patterns of names of programs that are refused in every mode, and what to do instead; the first match holds."""

HEAD = """# Compatibility

What {class}`~ib_pyro.elbo.InformationBottleneckELBO` makes of programs from outside of this package. Each row is a
program that the tests run: its name is the id of a test,

```console
T=tests/ib_pyro/differential/test_differential.py
make test TESTS="'$T::test_right_or_refused_by_name[NAME]'"
```

and its verdicts are what the test asserts; this page is written from the same table. A verdict is one of two:

- **right**: the loss, and its gradient in each parameter, have the expectation that `pyro.infer.Trace_ELBO` has,
  within five standard errors of the estimate (float64). Under `sampled_rates` naming each site they are its numbers
  draw by draw. Where the evidence or the ELBO is known in closed form, the loss is compared with that as well.
- **refused**: an error that says which site, what is wrong with it, and what to do.

The column *closed form* is the default, `on_no_closed_form="error"`; *sampled* is `on_no_closed_form="monte-carlo"`,
which keeps the closed forms that there are and takes the other rates at the draw.

Besides the table, random linear-Gaussian programs are compared with their exact loss and gradient: orders, parents,
plates, subsamples, scales, masks, wrappers and points are drawn by Hypothesis. `python -m tests.ib_pyro.differential`
counts the verdicts of both, and writes this page.
"""


def compatibility_page(table: Iterable[Case]) -> str:
    """The page's text: a section of the table each, a program a row."""
    sections: dict[str, list[Case]] = {}
    for case in table:
        sections.setdefault(case.section, []).append(case)
    parts = [HEAD, _summary(sections)]
    for section, cases in sections.items():
        parts.append(f"## {section}\n\n| program | closed form | sampled | way out |\n|---|---|---|---|\n")
        parts[-1] += "".join(_row(case) for case in cases)
    return "\n".join(parts)


def counts(cases: Iterable[Case]) -> Counter[str]:
    """How many programs are right in closed form, right when sampled alone, and refused."""
    return Counter(
        "right" if case.error == RIGHT else "right when sampled" if case.sampled == RIGHT else "refused"
        for case in cases
    )


def way_out(case: Case) -> str:
    """What to do instead of what is refused.

    Raises:
        LookupError: If nothing is known.
    """
    if case.error == RIGHT:
        return ""
    if case.sampled == RIGHT:
        return SAMPLE
    for pattern, text in WAYS_OUT.items():
        if re.search(pattern, case.name):
            return text
    raise LookupError(f"no way out is known for {case.name!r}; add one to WAYS_OUT")


def _summary(sections: dict[str, list[Case]]) -> str:
    columns = ("right", "right when sampled", "refused")
    lines = [f"| section | programs | {' | '.join(columns)} |", "|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for section, cases in sections.items():
        found = counts(cases)
        total += found
        lines.append(f"| {section} | {len(cases)} | {' | '.join(str(found[c]) for c in columns)} |")
    lines.append(f"| all | {total.total()} | {' | '.join(str(total[c]) for c in columns)} |")
    return "\n".join(lines) + "\n"


def _row(case: Case) -> str:
    verdicts = ("right" if verdict == RIGHT else "refused" for verdict in (case.error, case.sampled))
    name = case.name.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*")
    return f"| {name} | {' | '.join(verdicts)} | {way_out(case)} |\n"
