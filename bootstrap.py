"""Set up this checkout from nothing and run the demo or the tests.

    python3 bootstrap.py demo [...]     set up, then run `napari-asmlp demo [...]`
    python3 bootstrap.py test [...]     set up, then run the tests: `pytest [...]`
    python3 bootstrap.py setup          set up only

Standard library only, Python 3.8 or newer to start: it looks for the Python it needs. Everything
goes into `.venv` beside this file; Debian packages are installed where it may do so (as root), and
otherwise named. A second run finds its own work and starts at once.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "napari-asmlp-setup"
OLDEST, NEWEST = (3, 11), (3, 13)
TRIES = 4

# What a window needs on a bare Debian or Ubuntu: package, and the library or program that shows
# it is there. (Ubuntu renames packages, as libglib2.0-0t64; libraries keep their names.)
WINDOW_PACKAGES = {
    "libgl1": "libGL.so.1",
    "libegl1": "libEGL.so.1",
    "libfontconfig1": "libfontconfig.so.1",
    "libglib2.0-0": "libglib-2.0.so.0",
    "libdbus-1-3": "libdbus-1.so.3",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-randr0": "libxcb-randr.so.0",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xinerama0": "libxcb-xinerama.so.0",
    "libxcb-xkb1": "libxcb-xkb.so.1",
    "libxcb-cursor0": "libxcb-cursor.so.0",
}
SCREEN_PACKAGES = {"xvfb": "xvfb-run", "xauth": "xauth"}


def main(arguments: list[str]) -> int:
    """Set up, then do what the first argument says."""
    job, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if job not in {"demo", "test", "setup"}:
        sys.stderr.write((__doc__ or "").strip() + "\n")
        return 0 if job in {"-h", "--help"} else 2
    use_fitting_python()
    os.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    install_system_packages(job)
    install_python_packages()
    if job == "test":
        return run_tests(rest)
    program = str(BIN / "napari-asmlp")
    if job == "setup":
        say(f"ready: {program} -h")
        return 0
    windowless = [] if has_display() or "--no-window" in rest else ["--no-window"]
    return call([program, "demo", *windowless, *rest])


def run_tests(arguments: list[str]) -> int:
    """Run pytest on a screen of its own where there is X, so that no window flashes up."""
    pytest = [str(PYTHON), "-m", "pytest", *arguments]
    if not sys.platform.startswith("linux"):
        return call(pytest)
    os.environ.setdefault("PYTEST_QT_API", "pyqt5")
    return call(["xvfb-run", "-a", *pytest])


def use_fitting_python() -> None:
    """Go on under a Python that the package supports; return if this is one."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other:
            say(f"Python {sys.version_info[0]}.{sys.version_info[1]} does not fit; using {other}")
            sys.exit(call([other, str(HERE / "bootstrap.py"), *sys.argv[1:]]))
    wanted = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    stop(f"needs Python {wanted}, this is {sys.version.split()[0]} and no other is on the PATH")


def install_system_packages(job: str) -> None:
    """Install, or name, the Debian packages that the job needs and that are missing."""
    if not sys.platform.startswith("linux"):
        return
    packages: dict[str, str] = {}
    if job == "test":
        packages = {**SCREEN_PACKAGES, **WINDOW_PACKAGES}
    elif has_display():
        packages = WINDOW_PACKAGES
    missing = [package for package, witness in packages.items() if not is_present(witness)]
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if shutil.which("apt-get") and is_root():
        say(f"installing {len(missing)} system packages: {' '.join(missing)}")
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        retry(["apt-get", "update", "-qq"], quiet=True)
        # A fresh machine may still be busy with its own updates: wait for its lock.
        retry([*install, "-qq", "-o", "DPkg::Lock::Timeout=300"], quiet=True)
        return
    say(f"missing for a window; run: sudo apt-get update && sudo {shlex.join(install)}")
    if job == "test" and not shutil.which("xvfb-run"):
        stop("the tests need these packages (`python3 bootstrap.py demo` works without them)")


def is_present(witness: str) -> bool:
    """Whether a program is on the PATH or a shared library can be loaded."""
    if ".so" not in witness:
        return shutil.which(witness) is not None
    try:
        ctypes.CDLL(witness)
    except OSError:
        return False
    return True


def install_python_packages() -> None:
    """Install the package with all extras into `.venv`, unless that was done."""
    state = setup_state()
    if STAMP.is_file() and STAMP.read_text() == state:
        say(f"{VENV} is up to date")
        return
    make_environment()
    say("installing napari-asmlp[all,testing]; the first time this takes some minutes")
    pip = [str(PYTHON), "-m", "pip", "install", "-qq"]
    retry([*pip, "-c", str(HERE / "constraints.txt"), "-e", f"{HERE}[all,testing]"])
    STAMP.write_text(state)


def make_environment() -> None:
    """Make `.venv`, unless one is there that works (one cut off half-way does not)."""
    if PYTHON.exists() and call([str(PYTHON), "-m", "pip", "--version"], quiet=True) == 0:
        return
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        retry([sys.executable, "-m", "venv", "--clear", str(VENV)])
    elif importlib.util.find_spec("pip"):
        make_environment_with_pip()
    else:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        stop(
            f"this Python has neither pip nor venv; run: sudo apt-get install python{version}-venv"
        )


def make_environment_with_pip() -> None:
    """Make `.venv` by virtualenv, fetched to a folder of its own.

    For Debian's Python, which lacks ensurepip and does not let pip install beside itself.
    """
    with tempfile.TemporaryDirectory() as tools:
        pip = [sys.executable, "-m", "pip", "install", "-qq"]
        retry([*pip, "--target", tools, "virtualenv"])
        virtualenv = ["env", f"PYTHONPATH={tools}", sys.executable, "-m", "virtualenv"]
        retry([*virtualenv, "--quiet", "--clear", str(VENV)])


def setup_state() -> str:
    """Digest all that decides what is installed in `.venv`, and where that lies."""
    digest = hashlib.sha256(f"{sys.version} {HERE}".encode())
    for name in ("setup.cfg", "constraints.txt", "napari_asmlp/__init__.py"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def has_display() -> bool:
    """Whether a window can be opened: always assumed outside Linux."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def is_root() -> bool:
    """Whether this process may install system packages."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def retry(command: list[str], *, quiet: bool = False) -> None:
    """Run a command that may fail for the network's sake, a few times; give up with its status."""
    for attempt in range(1, TRIES + 1):
        status = call(command, quiet=quiet)
        if status == 0:
            return
        if attempt < TRIES:
            say(f"failed with status {status}; trying again in {5 * attempt} s")
            time.sleep(5 * attempt)
    stop(f"gave up after {TRIES} tries: {shlex.join(command)}")


def call(command: list[str], *, quiet: bool = False) -> int:
    """Run a command in the checkout and answer its exit status; quiet leaves only its errors."""
    return subprocess.call(command, cwd=HERE, stdout=subprocess.DEVNULL if quiet else None)


def say(message: str) -> None:
    """One line a step, at once, on standard error."""
    sys.stderr.write(f"bootstrap: {message}\n")
    sys.stderr.flush()


def stop(message: str) -> NoReturn:
    """End with one line that says what to do."""
    say(message)
    sys.exit(1)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
