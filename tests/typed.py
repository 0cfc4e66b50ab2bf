"""What a command makes of a command line, without running it."""

from typer.main import get_command

from delta_arb.command import application, command


def typed(of: type, *argv: str, **more):
    """The options `of` a command as `argv` gives them (`more`: see `command`); what typer refuses is raised."""
    app, found = application(), []

    @command(app, of, **more)
    def told(options) -> None:
        found.append(options)

    get_command(app).main([str(word) for word in argv], "told", standalone_mode=False)
    return found[0]
