"""Settings as they are typed and as files hold them: the same values, read by their annotations."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inference.cli import main
from inference.cli.arguments import Parser, add_settings, setting_reader
from inference.runs.spec import RunSpec, entries

ROOT = Path(__file__).parents[3]


def typed(*words):
    parser = Parser()
    add_settings(parser)
    return vars(parser.parse_args(list(words)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--beta", "1e-3"], {"beta": 1e-3}),
        (["--beta", "null"], {"beta": None}),
        (["--batch-norm", "false"], {"batch_norm": False}),
        (["--nesterov", "True"], {"nesterov": True}),
        (["--limit", "30", "--data-root", "here"], {"limit": 30, "data_root": Path("here")}),
        (["--lr-drops", "40,60"], {"lr_drops": (40, 60)}),
        (["--lr-drops", "[40, 60]"], {"lr_drops": (40, 60)}),
        (["--gamma", "0.5"], {"gamma": 0.5}),
        (["--gamma", "z1=0.5,z3=2"], {"gamma": {"z1": 0.5, "z3": 2.0}}),
        (["--beta-factors", "z1=0"], {"beta_factors": {"z1": 0.0}}),
        (
            ["--model-options", "width=3, rate=1e-3,norm=True,kind=relu,name=a=b"],
            {"model_options": {"width": 3, "rate": 1e-3, "norm": True, "kind": "relu", "name": "a=b"}},
        ),
    ],
)
def test_options_are_read_by_the_types_of_their_settings(words, expected):
    assert typed(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-norm", "perhaps"], "--batch-norm takes true or false; got perhaps"),
        (["--epochs", "2.5"], "--epochs takes int; got 2.5"),
        (["--epochs"], "--epochs expected one argument"),
        (["--gamma", "z1"], "--gamma takes a number, or one for each site such as z1=20,z3=5; got z1"),
        (["--beta-factors", "2"], "--beta-factors takes a factor for each site such as z1=0.5,z3=2; got 2"),
        (["--bet", "2"], "unrecognized arguments: --bet 2; did you mean --beta?"),
        (["--batchsize", "2"], "unrecognized arguments: --batchsize 2; did you mean --batch-size?"),
        (["--batch_size=2"], "unrecognized arguments: --batch_size=2; did you mean --batch-size?"),
        (["--model-options", "width:3"], "--model-options takes options such as width=32,norm=true"),
    ],
)
def test_what_cannot_be_read_is_named(words, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        typed(*words)


def test_every_setting_is_read_back_from_json():
    """What `config.json` holds of a run is what its options take."""
    spec = RunSpec.of(beta=0.1, lr_drops=(1, 2), epochs=5, gamma={"z1": 0.5}, data_root=Path("here"))
    stored = json.loads(json.dumps(spec.settings()))
    assert RunSpec.of(**{name: setting_reader(name)(value) for name, value in stored.items()}) == spec


def test_the_help_of_every_setting_says_what_it_is(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for _, entry in entries():
        assert f"--{entry.name.replace('_', '-')} " in text
        assert len(entry.metadata["help"]) > 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1\n- 2\n", "holds list, not options by their names"),
        ("epochs: [", "is neither YAML nor JSON"),
        ("epoch: 3\n", "setting 'epoch' is unknown; did you mean 'epochs'"),
        ("epochs: many\n", "--epochs takes int; got many"),
        (
            '{"settings": {"size": 8, "model": "mlp", "data": "mnist", "flavour": 3}}',
            "setting 'flavour' is unknown",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content, message, tmp_path, capsys):
    (tmp_path / "settings.yaml").write_text(content)
    words = ["--config", str(tmp_path / "settings.yaml"), "--out", str(tmp_path / "run")]
    assert main(["fit", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_file_of_settings_may_write_exponents_dashes_and_a_folder(tmp_path):
    (tmp_path / "settings.yaml").write_text(
        f"beta: 1e-3\nbatch-size: 50\nepochs: 1\nlimit: 100\nout: {tmp_path / 'run'}\n"
    )
    assert main(["fit", "--config", str(tmp_path / "settings.yaml"), "--quiet"]) == 0
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert (settings["beta"], settings["batch_size"]) == (1e-3, 50)
    assert math.isclose(settings["lr"], 0.07)


@pytest.mark.parametrize("command", ["fit", "paper", "compare", "bench", "demo", "evaluate"])
def test_help_answers_without_what_is_slow(command):
    code = f"""
import sys
from inference.cli import main
try:
    main([{command!r}, "--help"])
except SystemExit:
    pass
print([name for name in ("torch", "lightning", "pandas", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"beta": True}, "--beta takes"),
        ({"lr_drops": [1.7]}, "--lr-drops takes"),
        ({"seed": True}, "--seed takes"),
        ({"epochs": float("inf")}, "--epochs takes int; got inf"),
        ({"gamma": {"z1": False}}, "--gamma takes"),
    ],
)
def test_settings_of_another_type_are_refused_in_a_file(tmp_path, capsys, content, message):
    settings = {"data": "digits", "hidden": 8, "beta": 0.01, "out": str(tmp_path / "run"), **content}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert main(["fit", "--config", str(tmp_path / "settings.json")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_named_twice_is_refused(tmp_path, capsys):
    words = ["fit", "--beta", "0.01", "--out", str(tmp_path / "run")]
    assert main([*words, "--gamma", "z1=1,z1=2"]) == 2
    assert "--gamma takes" in capsys.readouterr().err
    assert main([*words, "--model", "mine:build", "--model-options", "width=8,width=4"]) == 2
    assert "--model-options takes" in capsys.readouterr().err


@pytest.mark.parametrize("load", [json.loads, yaml.safe_load])
def test_options_in_a_file_are_the_numbers_that_they_are_typed_as(load):
    found = setting_reader("model_options")(
        load('{"eps": 1e-05, "lr": 1.5e3, "width": 8, "norm": true, "kind": "relu"}')
    )
    assert found == {"eps": 1e-5, "lr": 1500.0, "width": 8, "norm": True, "kind": "relu"}
    assert [type(value) for value in found.values()] == [float, float, int, bool, str]
    assert found == setting_reader("model_options")("eps=1e-05,lr=1.5e3,width=8,norm=true,kind=relu")


def test_a_copied_configuration_is_read_as_json(tmp_path):
    words = (
        "fit --data digits --hidden 8 --limit 100 --epochs 1 --beta 1e-05 --accelerator cpu --quiet".split()
    )
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    copy = tmp_path / "copy.json"
    copy.write_text((tmp_path / "run" / "config.json").read_text())
    assert main(["fit", "--config", str(copy), "--quiet", "--out", str(tmp_path / "again")]) == 0
    settings = [
        json.loads((tmp_path / name / "config.json").read_text())["settings"] for name in ("run", "again")
    ]
    assert settings[0] == settings[1]
