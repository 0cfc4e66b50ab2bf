"""The house: imports, lengths of files and of lists of parameters, names of one meaning, and pages that name what is there."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "delta_arb").rglob("*.py"))
LONGEST_FILE, MOST_PARAMETERS = 400, 8


def place(path: Path) -> str:
    return str(path.relative_to(ROOT / "delta_arb"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in given if name not in ("self", "cls")])


def test_imports_go_downwards_only():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_longer_than_one_can_read(capsys):
    lines = {place(path): path.read_text("utf-8").count("\n") for path in FILES}
    with capsys.disabled():
        print(f" {len(lines)} files, {sum(lines.values()):,} lines", end=" ")
    assert not {file for file, n in lines.items() if n > LONGEST_FILE}


def test_no_function_takes_more_parameters_than_one_can_remember():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    over = {
        f"{place(path)}: {node.name}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, functions) and parameters(node) > MOST_PARAMETERS
    }
    assert not over


def test_a_public_class_name_means_one_thing():
    names = Counter(
        node.name
        for path in FILES
        if "sandbox" not in path.parts
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not {name for name, n in names.items() if n > 1}


def test_the_files_that_a_page_tells_to_start_with_are_there():
    named = [
        ROOT / "delta_arb" / page.stem / name
        for page in (ROOT / "docs" / "rooms").glob("*.md")
        for told in re.findall(r"Start with (.*?)\.\s", page.read_text() + "\n", re.DOTALL)
        for name in re.findall(r"`(\w+)`", told)
    ]
    assert len(named) > 30 and not [at for at in named if not at.with_suffix(".py").exists()]


def test_what_the_code_says_of_other_files_names_files_that_are_there():
    nodes = [node for path in FILES for node in ast.walk(tree(path))]
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    said = {node.arg for node in nodes if isinstance(node, ast.arg)} | {
        node.id for node in nodes if isinstance(node, ast.Name)
    }
    there = {path.stem for path in FILES} | {path.parent.name for path in FILES} | {"da", "setup"}
    lost = []
    for path in FILES:
        text = path.read_text("utf-8")
        seen = [name for name in re.findall(r"see `(\w+)`", text) if name not in defined | said]
        of_others = [
            module for module, name in re.findall(r"`(\w+)\.(\w+)`", text) if name in defined and module not in said
        ]
        files = re.findall(r"\b([a-z]\w+)\.py\b", text)
        lost += [f"{place(path)}: {name}" for name in (*seen, *of_others, *files) if name not in there]
    assert not lost
