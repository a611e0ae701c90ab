"""The compiled code with address and undefined-behaviour sanitizers, and its tests: `python benchmarks/sanitized.py`.

The C files are compiled by gcc into a folder of their own, and a child process loads that library in place of the
installed one. A read or write beyond an array's end, in it or in what NumPy allocated, ends the process with a report.
With all kinds of instructions, compiling takes two or three minutes of a core, and the tests of compiled code take ten.
With --plain only the plain kind is compiled, without optimisation, in a few seconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
TESTS = ("tests/native", "tests/kernels/test_native_recurrence.py")  # of compiled code
LIBRARY = "NLPSEQ_SANITIZED"  # the variable that names the library, see `load`
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-fno-omit-frame-pointer")
PLAIN = (  # how the copied sources are changed so that only the plain kind is compiled: file, old, new
    ("variants.h", "#if HAS_LEVELS", "#if 0"),
    ("processor.c", "__builtin_cpu_init();", "return 0;"),
    *((name, f"_{kind}", "_plain") for name in ("processor.h", "recurrence.c") for kind in ("v3", "v4")),
)


def why_not() -> str:
    """Why the compiled code cannot be built with sanitizers here; empty if it can."""
    if shutil.which("gcc") is None:
        return "there is no gcc"
    if not Path(_runtime()).is_absolute():
        return "gcc has no address sanitizer"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int nothing(void) { return 0; }\n")
        words = ["gcc", *SANITIZERS, "-shared", "-fPIC", str(source), "-o", f"{folder}/empty.so"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stderr.strip()[:200]


def _runtime() -> str:
    """The path of the address sanitizer's runtime, or only its name."""
    words = ["gcc", "-print-file-name=libasan.so"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def build(folder: Path, *, plain: bool = False) -> Path:
    """Compile the library into a folder: its path. With `plain`, for one kind of processor and quickly."""
    extension = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"][0]
    sources = folder / "c"
    shutil.copytree(ROOT / "nlpseq/native/c", sources)
    for name, old, new in PLAIN if plain else ():
        text = (sources / name).read_text()
        if old not in text:
            raise RuntimeError(f"{name} has changed: {old!r} is not in it")
        (sources / name).write_text(text.replace(old, new))
    flags = [flag for flag in extension["extra-compile-args"] if flag != "-O3"]
    flags += ["-O0" if plain else "-O1", "-fPIC", *SANITIZERS]
    names = [Path(source).name for source in extension["sources"]]

    def compile_one(name: str) -> None:
        words = ["gcc", *flags, "-c", str(sources / name), "-o", str(folder / f"{name}.o")]
        subprocess.run(words, check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, names))
    library = folder / "sanitized.so"
    objects = [str(folder / f"{name}.o") for name in names]
    subprocess.run(["gcc", *SANITIZERS, "-shared", *objects, "-o", str(library), "-pthread", "-lm"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """The variables with which a child process loads the library by `load`."""
    return {
        LIBRARY: str(library),
        "LD_PRELOAD": _runtime(),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=3000:exitcode=99",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }


def load() -> None:
    """In a child process: let the package load the library that LIBRARY names, if it is set."""
    if library := os.environ.get(LIBRARY):
        from importlib.machinery import ModuleSpec

        from nlpseq.native import extension

        extension.find_spec = lambda name: ModuleSpec(name, None, origin=library)  # type: ignore[assignment]
        extension.load_library()


def run_tests(variables: dict[str, str], tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests with the library; this module is a plugin of pytest that calls `load`."""
    words = [sys.executable, "-m", "pytest", "-p", "sanitized", "-p", "no:cacheprovider", "-q", "--capture=sys", *tests]
    return subprocess.run(words, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def pytest_configure() -> None:
    """Called by pytest before it collects tests."""
    load()


def main() -> int:
    """Build the library, run the tests of compiled code with it, and show what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="compile the plain kind only")
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"[default: {' '.join(TESTS)}]")
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"not built: {reason}")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        done = run_tests(environment(build(Path(folder), plain=arguments.plain)), arguments.tests)
    print(done.stdout[-3000:], done.stderr[-6000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
