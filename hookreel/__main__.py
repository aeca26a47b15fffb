"""``python -m hookreel`` and the ``hookreel`` command."""

from hookreel.cli import cli


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
