"""The `course` command. Each command imports what it needs when it runs, so that `course --help` stays quick."""

from __future__ import annotations

import sys

import typer

app = typer.Typer(name="course", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Diffusion models, with nothing taken on trust.")


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run the command; Ctrl-C ends with exit status 130 and no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
