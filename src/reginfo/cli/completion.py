"""`reginfo completion`: what makes a shell complete the commands."""

import click
from click.shell_completion import get_completion_class

from reginfo.cli import root

VARIABLE = "_REGINFO_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands and options.

    \b
    Examples:
      source <(reginfo completion bash)
      reginfo completion fish > ~/.config/fish/completions/reginfo.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    # Not source(): it looks for the shell, and asks it for its version, where the script may not even be meant for.
    script = kind(root, {}, "reginfo", VARIABLE)
    click.echo(script.source_template % script.source_vars())
