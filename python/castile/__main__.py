"""``python -m castile`` is the command ``castile``."""

from castile.cli import main

if __name__ == "__main__":
    main()
