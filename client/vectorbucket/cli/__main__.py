"""``python -m vectorbucket.cli`` is the command ``vectorbucket``."""

from vectorbucket.cli import main

if __name__ == "__main__":
    main()
