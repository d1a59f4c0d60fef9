"""Build the extensions of reginfo: directives, switches and the source layout live here, once.

src/_fast is installed as reginfo._fast.  A bare package_dir mapping makes sibling cimports fail, so the
sources are staged under build/stage/reginfo/_fast, where their package path is the real one
(docs/decisions/0001-fast-package-staging.md).

Switches (environment):
REGINFO_SAN=address,undefined   sanitizers
REGINFO_DEBUG=1                 bounds checks and C assertions on, -O0
REGINFO_TRACE=1                 line tracing, for coverage
REGINFO_ANNOTATE=1              annotated HTML to build/annotate
REGINFO_STRICT=1                warnings of Cython and of the C compiler are errors

Every combination that changes the code has a build folder of its own, so that no object file is ever
taken over from a build of another kind.
"""

import hashlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import Cython
import lxml
from Cython.Build import cythonize
from Cython.Compiler import Options
from Cython.Compiler.Errors import CompileError
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "src" / "_fast"

DEBUG = os.environ.get("REGINFO_DEBUG") == "1"
TRACE = os.environ.get("REGINFO_TRACE") == "1"
ANNOTATE = os.environ.get("REGINFO_ANNOTATE") == "1"
STRICT = os.environ.get("REGINFO_STRICT") == "1"
SANITIZERS = os.environ.get("REGINFO_SAN", "")

KIND = "-".join(["sanitize"] * bool(SANITIZERS) + ["debug"] * DEBUG + ["trace"] * TRACE + ["annotated"] * ANNOTATE)
BUILD = Path("build", KIND)  # relative: setuptools wants the package folder so
STAGE = BUILD / "stage"
PACKAGE = STAGE / "reginfo" / "_fast"
STAGED = {".py", ".pyx", ".pxd", ".pyi"}

DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": False,
    "freethreading_compatible": False,
    "auto_pickle": False,  # views into buffers, sockets and tables are not values to copy
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "linetrace": TRACE,
    # The rest of -Wextra stays off: it takes every &out argument for a read and every generator expression for unused.
    "warn.unreachable": True,
}

# What Cython's own C provokes, whatever the source says; everything else of -Wall -Wextra is ours.
GENERATED_C_NOISE = [
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-Wno-cast-function-type",
]

# Debug information names neither where it was built nor where lxml was then: the same sources make the same wheel.
PATHLESS = [f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={Path(lxml.__file__).parent.parent}=."]


def require_toolchain() -> None:
    """Exit with one line that names the Debian package, if there is nothing to compile with."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        sys.exit(f"reginfo: no C compiler ({compiler}): apt install gcc libc6-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit(f"reginfo: no Python.h for {sys.executable}: apt install python3-dev")


def stage() -> list[Path]:
    """Copy src/_fast under its package path, touching only what differs, and return the .pyx files.

    A stage made with other directives, flags or another Cython is thrown away: timestamps do not show that.
    """
    recipe = f"{Cython.__version__} {sys.version} {SANITIZERS}".encode() + Path(__file__).read_bytes()
    mark = STAGE / hashlib.sha256(recipe).hexdigest()[:16]
    if not mark.exists():
        shutil.rmtree(STAGE, ignore_errors=True)
    PACKAGE.mkdir(parents=True, exist_ok=True)
    wanted = {path.name for path in SOURCE.iterdir() if path.suffix in STAGED}
    stems = {Path(name).stem for name in wanted}
    for old in PACKAGE.iterdir():
        known = old.name in wanted if old.suffix in STAGED else old.name.split(".")[0] in stems
        if old.is_file() and not known:
            old.unlink()
    for name in sorted(wanted):
        source, target = SOURCE / name, PACKAGE / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            shutil.copyfile(source, target)
    (STAGE / "reginfo" / "__init__.pxd").touch()
    mark.touch()
    return sorted(PACKAGE.glob("*.pyx"))


def flags() -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    """Return compiler flags, linker flags and macros for the chosen switches."""
    compile_args = ["-Wall", "-Wextra", *GENERATED_C_NOISE, "-fno-strict-aliasing", *PATHLESS]
    link_args: list[str] = []
    macros: list[tuple[str, str | None]] = []
    if SANITIZERS:
        # No -Werror here: the instrumentation itself makes gcc see uninitialised paths.
        compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
        compile_args += [f"-fsanitize={SANITIZERS}"]
        link_args = [f"-fsanitize={SANITIZERS}"]
    elif DEBUG:
        compile_args += ["-Og", "-g", "-UNDEBUG"]  # -O0 would keep what an unused function of lxml.h calls
    else:
        compile_args += ["-O3", "-g1"]
        if STRICT:
            compile_args += ["-Werror"]
    if TRACE:
        macros.append(("CYTHON_TRACE_NOGIL", "1"))
    return compile_args, link_args, macros


def extensions() -> list[Extension]:
    """Return one extension for each .pyx file, translated to C."""
    compile_args, link_args, macros = flags()
    # lxml's header asks whether a macro is defined that Cython's own C defines.
    trees = {"reginfo_xml", "plain_xml"}
    Options.warning_errors = STRICT
    modules = [
        Extension(
            f"reginfo._fast.{path.stem}",
            [str(path)],
            include_dirs=lxml.get_include() if path.stem in trees else [],
            extra_compile_args=compile_args + (["-Wno-cpp"] if path.stem in trees else []),
            extra_link_args=link_args,
            define_macros=macros,
        )
        for path in stage()
    ]
    try:
        translated: list[Extension] = cythonize(
            modules,
            include_path=[str(STAGE)],
            compiler_directives=DIRECTIVES,
            annotate=ANNOTATE,
            nthreads=os.cpu_count() or 1,
        )
    except CompileError as error:
        sys.exit(f"reginfo: Cython refuses {error}, see above")
    if ANNOTATE:
        target = ROOT / "build" / "annotate"
        target.mkdir(parents=True, exist_ok=True)
        for page in PACKAGE.glob("*.html"):
            shutil.move(page, target / page.name)
    return translated


# Guarded, because a worker process that translates may import this file again.
if __name__ == "__main__":
    os.chdir(ROOT)
    require_toolchain()
    setup(
        license_expression="MIT",
        packages=[
            "reginfo",
            "reginfo._fast",
            "reginfo.admin",
            "reginfo.cli",
            "reginfo.config",
            "reginfo.engine",
            "reginfo.net",
            "reginfo.roles",
            "reginfo.roles.compositor",
            "reginfo.roles.notifier",
            "reginfo.roles.publisher",
            "reginfo.roles.subscriber",
            "reginfo.server",
            "reginfo.sip",
            "reginfo.store",
        ],
        package_dir={"": "src", "reginfo._fast": str(PACKAGE)},
        package_data={
            "reginfo": ["py.typed"],
            "reginfo._fast": ["*.pyi", "*.pxd"],
            "reginfo.admin": ["dashboard/*"],
        },
        data_files=[("share/man/man1", ["docs/man/reginfo.1"])],
        ext_modules=extensions(),
        options={
            "build": {"build_base": str(BUILD), "build_lib": str(BUILD / "lib")},
            "build_ext": {"parallel": os.cpu_count() or 1},
        },
    )
