"""`flash completion bash|zsh|fish`: a script for the shell, made from the parser, so that it never misses an option.

What a command's arguments may be is not completed, except files, which are the shell's own business.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Word:
    """What may be typed: a command, an action or an option, and what it is for."""

    text: str
    help: str


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The text to be sourced by `shell`."""
    words = {name: list(_words(command)) for name, command in _commands(parser).items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](words)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser itself under the empty name, and that of each of its commands."""
    return {"": parser, **{name: command for action in _sub(parser) for name, command in action.choices.items()}}


def _words(parser: argparse.ArgumentParser) -> Iterator[Word]:
    for action in _sub(parser):
        for choice in action._choices_actions:
            yield Word(choice.dest, choice.help or "")
    for option in parser._actions:
        if option.help != argparse.SUPPRESS:
            yield from (Word(text, option.help or "") for text in option.option_strings if text.startswith("--"))
        if option.choices and not isinstance(option, argparse._SubParsersAction):
            yield from (Word(str(choice), "") for choice in option.choices)


def _sub(parser: argparse.ArgumentParser) -> Iterator[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _bash(words: dict[str, list[Word]]) -> str:
    cases = "\n".join(
        f'        {name or chr(34) * 2}) words="{" ".join(word.text for word in found)}" ;;'
        for name, found in words.items()
    )
    return f"""# bash: eval "$(flash completion bash)"
_flash() {{
    local words="" word="${{COMP_WORDS[COMP_CWORD]}}" command=""
    [ "$COMP_CWORD" -gt 1 ] && command="${{COMP_WORDS[1]}}"
    case "$command" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _flash flash
"""


def _zsh(words: dict[str, list[Word]]) -> str:
    cases = "\n".join(
        f"        {name or chr(39) * 2}) choices=({' '.join(_described(word) for word in found)}) ;;"
        for name, found in words.items()
    )
    return f"""#compdef flash
# zsh: source <(flash completion zsh)
_flash() {{
    local -a choices
    local command=""
    (( CURRENT > 2 )) && command="${{words[2]}}"
    case "$command" in
{cases}
    esac
    _describe -t words flash choices || _files
}}
compdef _flash flash
"""


def _described(word: Word) -> str:
    return shlex.quote(f"{word.text.replace(':', chr(92) + ':')}:{_first(word)}")


def _fish(words: dict[str, list[Word]]) -> str:
    lines = ["# fish: flash completion fish | source"]
    for name, found in words.items():
        when = f"__fish_seen_subcommand_from {name}" if name else "__fish_use_subcommand"
        for word in found:
            what = f"-l {word.text[2:]}" if word.text.startswith("--") else f"-f -a {word.text}"
            lines.append(f"complete -c flash -n '{when}' {what} -d {_fish_quoted(_first(word))}")
    return "\n".join([*lines, ""])


def _fish_quoted(text: str) -> str:
    """In fish, a backslash escapes a quote within quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _first(word: Word) -> str:
    """The beginning of its help, short enough for a menu."""
    return word.help.partition(";")[0].replace("%%", "%")[:60]
