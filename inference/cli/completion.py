"""``python -m inference completion``: what the shell needs to complete subcommands, options and their values."""

from __future__ import annotations

import shlex
from argparse import Namespace

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser
from inference.cli.called_as import SCRIPT

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = f"print a script that lets the shell complete what follows {SCRIPT}"
SHELLS = ("bash", "fish", "zsh")

# Where a word is neither an option nor the value of one that has names for its values, it is a file.
_BASH = """\
_ib_pyro() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words={commands}
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
    else
        case "${{COMP_WORDS[1]}} $before" in
{values}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _ib_pyro {script}
"""
# zsh runs scripts that were written for bash.
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed(
        "shell",
        known=SHELLS,
        help=f'{", ".join(SHELLS)}; for bash, add `eval "$({SCRIPT} completion bash)"` to ~/.bashrc, and for fish '
        f"`{SCRIPT} completion fish | source` to its config",
    )


def run(options: Namespace) -> int:
    """Print the script."""
    require_known("shell", options.shell, SHELLS)
    from ib_pyro.data import DATASETS
    from inference.cli.commands import build_parser

    _, parsers = build_parser()
    for parser in parsers.values():
        if "--data" in parser.options:
            parser.known["--data"] = list(DATASETS)
    print(
        _fish(parsers) if options.shell == "fish" else _bash(parsers, is_zsh=options.shell == "zsh"), end=""
    )
    return 0


def _bash(parsers: dict[str, Parser], *, is_zsh: bool) -> str:
    options = [_case(name, parser.options) for name, parser in parsers.items()]
    values = []
    for name, parser in parsers.items():
        for option, words in parser.known.items():
            # What is known of the first word after a subcommand stands after the subcommand itself.
            values.append(_case(f"{name} {option if option.startswith('-') else name}", words))
    script = _BASH.format(
        commands=shlex.quote(" ".join([*parsers, "--help", "--version"])),
        options="\n".join(options),
        values="\n".join(values),
        script=SCRIPT,
    )
    return (_ZSH if is_zsh else "") + script


def _case(pattern: str, words: list[str]) -> str:
    return f"            {shlex.quote(pattern)}) words={shlex.quote(' '.join(words))} ;;"


def _fish(parsers: dict[str, Parser]) -> str:
    first = f"complete -c {SCRIPT} -n __fish_use_subcommand"
    lines = [
        f"{first} -xa {name} -d {shlex.quote(parser.description or '')}" for name, parser in parsers.items()
    ]
    lines.append(f"{first} -l version")
    for name, parser in parsers.items():
        here = f"complete -c {SCRIPT} -n '__fish_seen_subcommand_from {name}'"
        for option in parser.options:
            words = parser.known.get(option, [])
            values = f" -xa {shlex.quote(' '.join(words))}" if words else ""
            lines.append(f"{here} -l {option.removeprefix('--')}{values}")
        for option, words in parser.known.items():
            if not option.startswith("-"):
                lines.append(f"{here} -xa {shlex.quote(' '.join(words))}")
    return "\n".join(lines) + "\n"
