"""``python -m hookreel`` and the ``hookreel`` command."""

from hookreel.cli import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="hookreel")  # also when started as python -m hookreel


if __name__ == "__main__":
    main()
