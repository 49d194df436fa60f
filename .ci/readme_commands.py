"""Print the command of the README that ends with the given words, as its readers would paste it."""

import re
import sys
from pathlib import Path


def commands(text):
    """Yield the logical lines of all fenced code blocks, without prompts."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"^\s*\$\s+", "", line).strip()


def main(readme, ending):
    """Print the command; exit with a message if there is not exactly one."""
    found = [
        command
        for command in commands(Path(readme).read_text(encoding="utf-8"))
        if "-m venv" in command and "pip install" in command and command.endswith(ending)
    ]
    if len(found) != 1:
        sys.exit(f"{readme} must hold one command that ends with {ending!r}, found {len(found)}")
    print(found[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
