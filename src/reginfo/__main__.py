"""`python -m reginfo` is the command line."""

from reginfo.cli import main

if __name__ == "__main__":
    main()
