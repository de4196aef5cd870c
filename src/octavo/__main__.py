"""`python -m octavo`: the command line, where its folder is not on the path."""

from octavo.cli.main import run

if __name__ == "__main__":
    run()
