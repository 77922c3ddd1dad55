"""`python -m taskplatform` is the command `taskplatform`."""

from taskplatform.cli import main

if __name__ == "__main__":
    main()
