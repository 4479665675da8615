"""A figure is one file: whoever adds one touches nothing else."""

import sys
from types import ModuleType

import pytest

from ib_pyro.choices import require_known
from inference.cli import main
from inference.studies.paper import figures, page, runner
from inference.studies.paper.figure import Figure
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.place import Place
from inference.studies.paper.plan import PRESETS, Planned, Size, paper_run
from inference.studies.paper.statistics import common_row, levels
from inference.studies.paper.verdicts import Claim, Finding


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole(name):
    found = figure(name)
    assert found.name == name
    assert found.title
    assert found.claims
    # What is ours and not the paper's has no preset of the paper.
    needed = (
        {"smoke", "definitive"} if name.startswith("panel") else {"smoke", "small", "definitive", "paper"}
    )
    assert needed <= set(found.sizes) <= set(PRESETS)
    assert [len(found.plan(preset)) > 0 for preset in found.sizes]


def test_names_are_those_of_the_papers_order():
    assert FIGURES == ["fig1", "fig2", "fig3a", "fig3b", "fig4", "fig5", "fig6", "panel1", "panel2", "table1"]
    assert [figure(name).heading for name in ("fig3a", "table1")] == ["Figure 3a", "Table 1"]
    with pytest.raises(ValueError, match="figure 'fig33' is unknown; did you mean 'fig3a', 'fig3b'"):
        figure("fig33")


def runs(size, _rows):
    program = {"model": "mlp", "data": "mnist", "dropout": "none"}
    return [Planned(paper_run(size, hidden=int(width), **program), {"what": "mine"}) for width in size.sizes]


def draw(rows):
    from inference.studies.paper.drawing import new_figure

    drawn, ax = new_figure(1, 1, width=4, height=3)
    ax.plot(levels(rows, "size"), [1, 2])
    return drawn


MINE = Figure(
    name="fig9",
    title="a figure of a user's own",
    sizes={"smoke": Size(sizes=(4, 8), epochs=1, train_images=60, test_images=30)},
    runs=runs,
    measure=lambda run, result, _load: [common_row(run, result)],
    draw=draw,
    claims=(
        Claim(
            words="There are two widths.",
            paper="no claim",
            rule="two",
            judge=lambda rows: Finding(f"{len(levels(rows, 'size'))}", [], "reproduced"),
        ),
    ),
    remark="It is ours.",
)


def test_a_new_figure_is_run_drawn_and_judged_without_another_change(tmp_path, monkeypatch, capsys):
    module = ModuleType("inference.studies.paper.fig9")
    module.FIGURE = MINE
    monkeypatch.setitem(sys.modules, module.__name__, module)
    # As the folder would be read with the file in it.
    for user in (figures, runner, page):
        monkeypatch.setattr(user, "FIGURES", [*FIGURES, "fig9"])
    path = runner.run_figure("fig9", "smoke", Place(tmp_path))
    lines = path.read_text().splitlines()
    assert lines[0].startswith("preset,what,model,data,size,dropout")
    assert len(lines) == 3
    assert (tmp_path / "fig9.png").exists()
    text = page.results_page({"fig9": runner.read_rows(path)}, pictures="figures")
    assert "## Figure 9: a figure of a user's own" in text
    assert "two | **reproduced (rules made on these seeds)** |\n\nIt is ours." in text
    capsys.readouterr()


def test_the_command_lists_the_figures(capsys):
    with pytest.raises(SystemExit):
        main(["paper", "--help"])
    assert ", ".join(FIGURES) in " ".join(capsys.readouterr().out.split())
    assert require_known("figure", "fig1", FIGURES) == "fig1"
