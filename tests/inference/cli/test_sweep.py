"""``python -m inference sweep``: a folder a run, the same one by one and side by side."""

from pathlib import Path

import pytest

from inference.cli.main import main
from inference.json_and_csv import read_json

WORDS = (
    "--data digits --hidden 8 --epochs 2 --accelerator cpu --limit 200 --betas 1e-3,1e-2 --seeds 0,1".split()
)


def sweep(out: Path, *words: str) -> int:
    return main(["sweep", *WORDS, "--out", str(out), *words])


def test_runs_side_by_side_are_those_of_runs_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "one") == 0
    assert sweep(tmp_path / "all", "--vectorize", "true") == 0
    assert capsys.readouterr().out.count("mlp, digits") == 4
    folders = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert len(folders) == 4
    for name in folders:
        one, other = (read_json(tmp_path / kind / name / "result.json") for kind in ("one", "all"))
        assert one.keys() == other.keys()
        for key in (
            "train_error",
            "test_error_noisy",
            "distortion",
            "rate",
            "rate/z2",
            "distortion_deterministic",
        ):
            assert other[key] == pytest.approx(one[key], rel=1e-4), key
        assert main(["evaluate", str(tmp_path / "all" / name)]) == 0
        again = read_json(tmp_path / "all" / name / "result.json")
        assert again == other
    assert main(["compare", *(str(tmp_path / "all" / name) for name in folders)]) == 0


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    assert sweep(tmp_path, "--vectorize", "true") == 0
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}
    assert sweep(tmp_path, "--vectorize", "true") == 0
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--beta", "0.1"], "--beta and --betas exclude each other"),
        (["--betas-paper", "1,3"], "--betas and --betas-paper name one weight"),
        (["--engine", "cloud"], "engine"),
        (
            ["--vectorize", "true", "--steady-priors", "true", "--activation", "softplus"],
            "--steady-priors gives learned priors a learning rate of their own",
        ),
        (["--compile"], "--compile goes with --vectorize true"),
        (
            ["--vectorize", "true", "--precision", "bf16-true"],
            "--precision bf16-true has no runs side by side",
        ),
    ],
    ids=["beta", "units", "engine", "steady priors", "compile", "precision"],
)
def test_what_is_refused(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_diverges_is_named_at_the_end_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--activation",
        "softplus",
        "--batch-norm",
        "false",
        "--betas",
        "1e-3,1e300",
        "--vectorize",
        "true",
    ]
    assert sweep(tmp_path, *words) == 1
    output = capsys.readouterr()
    assert "2 of 4 runs failed: " in output.err
    assert output.out.count("missing: ") == 2
    assert "not finite" in output.out
    assert "mlp, digits" in output.out
    assert len(list(tmp_path.glob("*/result.json"))) == 2
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/failure.json")}
    assert len(kept) == 2
    assert sweep(tmp_path, *words) == 1
    assert capsys.readouterr().out == output.out
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert sweep(tmp_path, *words, "--retry-failed") == 1
    assert all(path.stat().st_mtime_ns > before for path, before in kept.items())
