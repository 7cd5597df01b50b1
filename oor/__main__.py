"""`python -m oor`: the command line."""

from oor.cli import main

if __name__ == "__main__":
    main()
