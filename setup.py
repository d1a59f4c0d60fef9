"""Build the extensions of reginfo: directives, switches and the source layout live here, once.

src/_fast is installed as reginfo._fast.  A bare package_dir mapping makes sibling cimports fail, so the
sources are staged under build/stage/reginfo/_fast, where their package path is the real one.

Switches (environment): REGINFO_SAN=address,undefined (sanitizers), REGINFO_DEBUG=1 (checks on, -O0),
REGINFO_TRACE=1 (line tracing for coverage), REGINFO_ANNOTATE=1 (HTML to build/annotate).
"""

import os
import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "src" / "_fast"
STAGE = ROOT / "build" / "stage"
PACKAGE = STAGE / "reginfo" / "_fast"

DEBUG = os.environ.get("REGINFO_DEBUG") == "1"
TRACE = os.environ.get("REGINFO_TRACE") == "1"
ANNOTATE = os.environ.get("REGINFO_ANNOTATE") == "1"
SANITIZERS = os.environ.get("REGINFO_SAN", "")

DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": False,
    "freethreading_compatible": False,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "linetrace": TRACE,
}


def stage() -> list[Path]:
    """Copy src/_fast under its package path, touching only what differs, and return the .pyx files."""
    PACKAGE.mkdir(parents=True, exist_ok=True)
    wanted = {path.name for path in SOURCE.iterdir() if path.suffix in {".py", ".pyx", ".pxd", ".pyi"}}
    for old in PACKAGE.iterdir():
        if old.suffix in {".py", ".pyx", ".pxd", ".pyi"} and old.name not in wanted:
            old.unlink()
    for name in sorted(wanted):
        source, target = SOURCE / name, PACKAGE / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            shutil.copyfile(source, target)
    (STAGE / "reginfo" / "__init__.pxd").touch()
    return sorted(PACKAGE.glob("*.pyx"))


def flags() -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    """Return compiler flags, linker flags and macros for the chosen switches."""
    compile_args = ["-O0", "-g"] if DEBUG else ["-O3", "-g1"]
    compile_args += ["-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter",
                     "-Wno-missing-field-initializers", "-fno-strict-aliasing"]
    link_args: list[str] = []
    macros: list[tuple[str, str | None]] = []
    if SANITIZERS:
        compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZERS}"]
        link_args = [f"-fsanitize={SANITIZERS}"]
    if TRACE:
        macros.append(("CYTHON_TRACE_NOGIL", "1"))
    return compile_args, link_args, macros


def extensions() -> list[Extension]:
    compile_args, link_args, macros = flags()
    modules = [
        Extension(
            f"reginfo._fast.{path.stem}",
            [os.path.relpath(path, ROOT)],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
            define_macros=macros,
        )
        for path in stage()
    ]
    built = cythonize(
        modules,
        include_path=[str(STAGE)],
        compiler_directives=DIRECTIVES,
        annotate=ANNOTATE,
        nthreads=0,
    )
    if ANNOTATE:
        target = ROOT / "build" / "annotate"
        target.mkdir(parents=True, exist_ok=True)
        for page in PACKAGE.glob("*.html"):
            shutil.move(page, target / page.name)
    return built


setup(
    license="MIT",
    packages=["reginfo", "reginfo._fast", "reginfo.sip", "reginfo.roles", "reginfo.store", "reginfo.net",
              "reginfo.admin", "reginfo.cli"],
    package_dir={"": "src", "reginfo._fast": "build/stage/reginfo/_fast"},
    package_data={"reginfo": ["py.typed"], "reginfo._fast": ["*.pyi", "*.pxd"]},
    ext_modules=extensions(),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
