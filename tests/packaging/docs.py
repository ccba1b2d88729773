"""The blocks of docs/deployment.md, each into a file of its own.

   docs.py DOCUMENT DIRECTORY: writes DIRECTORY/NN, and prints a line for each: NN, line, what to do.

Above each block of sh or ini stands a comment: <!-- try: WHERE --> or <!-- not tried: WHY -->.
"""

import pathlib
import re
import sys

document, directory = map(pathlib.Path, sys.argv[1:])
directory.mkdir(parents=True, exist_ok=True)
what = None
block = None
count = 0
for number, line in enumerate(document.read_text().splitlines(), 1):
    text = line.strip()
    if block is not None:
        if text == "```":
            count += 1
            (directory / f"{count:02}").write_text("".join(block))
            print(f"{count:02}\t{begin}\t{what}")
            block = what = None
        else:
            block.append(line[indent:] + "\n")
    elif mark := re.fullmatch(r"<!-- (try|not tried): (.*) -->", text):
        what = mark[2] if mark[1] == "try" else "not"
    elif text.startswith("```"):
        if text in ("```sh", "```ini"):
            if what is None:
                sys.exit(f"{document}:{number}: nothing says where this block is tried")
            block, begin, indent = [], number, line.index("`")
        elif text != "```":
            sys.exit(f"{document}:{number}: {text} is no kind of block that is known here")
