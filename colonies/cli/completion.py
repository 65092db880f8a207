"""``colonies completion``: what a shell needs to complete commands, options, and ids."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from colonies.cli import output
from colonies.cli.command import Command, Session

SHELLS = ("bash", "fish", "zsh")


@click.command("completion", cls=Command, settings=())
@click.argument("shell", type=click.Choice(SHELLS))
def completion(session: Session, shell: str) -> None:
    r"""Print what makes a shell complete commands, options and ids.

    \b
    bash:  eval "$(colonies completion bash)"       in ~/.bashrc
    zsh:   eval "$(colonies completion zsh)"        in ~/.zshrc
    fish:  colonies completion fish | source        in ~/.config/fish/config.fish
    """
    del session
    context = click.get_current_context().find_root()
    script = get_completion_class(shell)
    if script is not None:
        output.say(script(context.command, {}, "colonies", "_COLONIES_COMPLETE").source())
