#!/usr/bin/env python3
"""House rules that a compiler does not check: tidy.py CHECK [ROOT]

    format         clang-format-19 would change nothing
    length         no source file over 500 lines without a reason at its head ("long because: …")
    leftovers      no T-O-D-O or F-I-X-M-E notes, no conflict markers, no trailing blanks
    readmes        each module has its README.md, each owner of a format its FORMAT.md or PROTOCOL.md;
                   a README names each source file of its folder
    links          each relative link of a Markdown file leads somewhere
    limits         sizes and durations have names: src/base/limits.hpp, or a constexpr beside its use
    twins          no two headers define a type of the same name: the linker takes the inline members
                   of one for both
    vectors        none is emptied by `v = {}`, which keeps its memory: free_memory(v), or v.clear()
    protections    what tests/protections.py takes out stands where it says, and so do its cases
    python         each Python file compiles

Prints what is wrong; exit status 1 if anything is, 77 where a tool is missing.
"""

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import protection_list  # noqa: E402
from layering import without_comments  # noqa: E402

LINES_MAX = 500
# Where the reason for a longer file must stand.
HEAD_LINES = 15
CODE_FOLDERS = ("src", "agent", "tests", "bench")
MODULES = ["src/" + m for m in ("base", "codec", "wire", "async", "io", "transport", "store",
                                "pipeline", "bench", "cli")] + ["agent", "bench", "tests"]
FORMATS = {"src/wire": "PROTOCOL.md", "src/store": "FORMAT.md"}


def files(root, endings, folders=CODE_FOLDERS):
    for top in folders:
        for folder, subfolders, names in os.walk(os.path.join(root, top)):
            subfolders[:] = sorted(s for s in subfolders if s != "__pycache__")
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as source:
        return source.read()


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_format(root):
    tool = shutil.which("clang-format-19")
    if tool is None:
        print("skipped: clang-format-19 is not installed")
        sys.exit(77)
    paths = list(files(root, (".hpp", ".cpp")))
    if not paths:
        return ["no C++ file was found"]
    done = subprocess.run([tool, "--dry-run", "-Werror", *paths], cwd=root, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        return []
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", done.stdout, re.M)))
    return [f"{path}: clang-format-19 -i {path}" for path in wrong] or [done.stdout]


def check_length(root):
    wrong = []
    for path in files(root, (".hpp", ".cpp", ".py", ".sh")):
        lines = read(root, path).splitlines()
        if len(lines) > LINES_MAX and "long because" not in "\n".join(lines[:HEAD_LINES]).lower():
            wrong.append(f"{path}: {len(lines)} lines; over {LINES_MAX} needs a reason at its head")
    return wrong


def check_leftovers(root):
    wrong = []
    note = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    for path in files(root, (".hpp", ".cpp", ".py", ".sh", ".build", ".md")):
        for number, line in enumerate(read(root, path).splitlines(), 1):
            if note.search(line):
                wrong.append(f"{path}:{number}: a note of unfinished work")
            if line.startswith(("<<<<<<< ", ">>>>>>> ")):
                wrong.append(f"{path}:{number}: a conflict marker")
            if line != line.rstrip():
                wrong.append(f"{path}:{number}: trailing blanks")
    return wrong


def check_readmes(root):
    wrong = [f"{module}/README.md is missing" for module in MODULES
             if os.path.isdir(os.path.join(root, module)) and
             not os.path.exists(os.path.join(root, module, "README.md"))]
    wrong += [f"{module}/{name} is missing" for module, name in FORMATS.items()
              if not os.path.exists(os.path.join(root, module, name))]
    return wrong + unnamed_files(root)


def unnamed_files(root):
    """Source files that the README of their folder does not name. `scope` and `scope.*` name
    scope.hpp and scope.cpp, `cmd_<verb>.cpp` all of that form; a file's full name does as well."""
    wrong = []
    for readme in files(root, ("README.md",)):
        folder = os.path.dirname(readme)
        prose = re.sub(r"```.*?```", "", read(root, readme), flags=re.S)
        patterns = {re.sub(r"<[^>]*>", "*", re.sub(r"\.(\*|hpp|cpp|py|sh)$", "", name))
                    for name in re.findall(r"`([\w.<>*-]+)`", prose)}
        patterns.discard("*")
        here = {}  # stem: a file of that name, the header of a pair
        for path in files(root, (".hpp", ".cpp", ".py", ".sh"), (folder,)):
            if os.path.dirname(path) == folder:
                name = os.path.basename(path)
                here[os.path.splitext(name)[0]] = name
        wrong += [f"{readme} does not name {name}" for stem, name in sorted(here.items())
                  if not any(fnmatch.fnmatchcase(stem, pattern) for pattern in patterns)]
    return wrong


def anchors_of(text):
    """The anchors that a Markdown page's headings get."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", text, re.M):
        word = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(word)
    return found


def check_links(root):
    wrong = []
    pages = [n for n in sorted(os.listdir(root)) if n.endswith(".md")] + list(files(root, (".md",)))
    for page in pages:
        text = read(root, page)
        prose = re.sub(r"```.*?```|`[^`\n]*`", lambda m: " " * len(m.group(0)), text, flags=re.S)
        for match in re.finditer(r"\]\(([^)\s]+)\)", prose):
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            where = f"{page}: ({match.group(1)})"
            full = os.path.normpath(os.path.join(root, os.path.dirname(page), target or
                                                 os.path.basename(page)))
            if not os.path.exists(full):
                wrong.append(f"{where} leads nowhere")
            elif anchor and full.endswith(".md") and \
                    anchor not in anchors_of(read(root, os.path.relpath(full, root))):
                wrong.append(f"{where} names no heading there")
        # Paths in backquotes that look like files of ours.
        for match in re.finditer(r"`((?:src|agent|tests|bench)/[\w./-]+\.(?:cpp|hpp|py|md))`", text):
            if not os.path.exists(os.path.join(root, match.group(1))):
                wrong.append(f"{page}: `{match.group(1)}` does not exist")
    return wrong


# A size as a product or a shift, a multiple of a unit of limits.hpp, a duration in figures.
BARE_SIZE = re.compile(r"\b\d+\s*\*\s*1024\b|\b1024\s*\*\s*\d+|\blimits::[KMG]iB\b|"
                       r"<<\s*(?:10|20|30)\b|\b\d+[uU]?\s*\*\s*[KMG]iB\b")
BARE_DURATION = re.compile(r"\bchrono::(?:milliseconds|seconds|minutes|hours)\s*[({]\s*[1-9]\d{0,6}\b|"
                           r"\b\d+(?:ms|s|min|h)\b(?=\s*[;,)])")


def check_limits(root):
    wrong = []
    for path in files(root, (".hpp", ".cpp"), ("src", "agent")):
        if path == "src/base/limits.hpp":
            continue
        code = without_comments(read(root, path))
        code = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: " " * len(m.group(0)), code)
        for pattern, what in ((BARE_SIZE, "size"), (BARE_DURATION, "duration")):
            for match in pattern.finditer(code):
                line = code[code.rfind("\n", 0, match.start()) + 1:match.start()]
                if "constexpr" in line:
                    continue
                wrong.append(f"{path}:{line_of(code, match.start())}: the {what} "
                             f"`{match.group(0)}` wants a name in src/base/limits.hpp")
    return wrong


# At the start of a line: in the one namespace that there is.
TYPE = re.compile(r"^(?:class|struct) (\w+)(?: final)?(?: : [^;{]*)? ?\{", re.M)


def check_twins(root):
    wrong, homes = [], {}
    for path in files(root, (".hpp",), ("src", "agent")):
        for name in TYPE.findall(without_comments(read(root, path))):
            home = homes.setdefault(name, path)
            if home != path:
                wrong.append(f"{path}: {home} has a type {name}, too")
    return wrong


VECTOR = re.compile(r"\b(?:byte_vector|std::vector<[^;(){}]*>)&? (\w+)(?:;|\{|\(| =|,|\))")
EMPTIED = re.compile(r"((?:\.|->)?)\b(\w+) = \{\};")
DECLARED = re.compile(r"[\w>&*] $")


def check_vectors(root):
    """By their names: those of members wherever they stand, others in their own file."""
    wrong = []
    sources = {path: without_comments(read(root, path))
               for path in files(root, (".hpp", ".cpp"), ("src", "agent"))}
    members = {name for path, text in sources.items() for name in VECTOR.findall(text)
               if path.endswith(".hpp") or name.endswith("_")}
    for path, text in sources.items():
        of_file = set(VECTOR.findall(text))
        for found in EMPTIED.finditer(text):
            of_object, name = found.groups()
            if DECLARED.search(text, 0, found.start()):
                continue  # a new one
            if name in of_file or ((of_object or name.endswith("_")) and name in members):
                wrong.append(f"{path}:{line_of(text, found.start())}: {name} keeps its memory: "
                             "free_memory(), or clear()")
    return wrong


def check_protections(root):
    return protection_list.stale(root, protection_list.PROTECTIONS)


def check_python(root):
    wrong = []
    for path in files(root, (".py",)):
        try:
            ast.parse(read(root, path), path)
        except SyntaxError as failure:
            wrong.append(f"{path}:{failure.lineno}: {failure.msg}")
    return wrong


CHECKS = {name[len("check_"):]: function for name, function in list(globals().items())
          if name.startswith("check_")}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in CHECKS:
        print(__doc__)
        return 2
    root = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../..")
    wrong = CHECKS[sys.argv[1]](os.path.abspath(root))
    print("\n".join(wrong) or f"{sys.argv[1]}: all well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
