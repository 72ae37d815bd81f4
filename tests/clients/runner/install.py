"""Fetches the published clients and their suites into a folder that is kept between runs, through
the ordinary tools: pip, npm and cargo. Nothing is fetched twice."""

import hashlib
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path

from processes import Failed, checked

HERE = Path(__file__).resolve().parent.parent
FETCH_SECONDS = 600
BUILD_SECONDS = 3600

# What each Python environment holds. Clients that ask for different gRPC stacks live apart.
PYTHON = {
    "kurrentdbclient": [
        *["kurrentdbclient==1.3.5", "eventsourcing-kurrentdb==1.2.2"],
        *["eventsourcing[crypto]==9.5.6"],
    ],
    "esdbclient": ["esdbclient==1.1.7"],
    "suites": [
        *["eventstoredb==0.9.0", "esdbcat==0.2.0", "esdbclient==1.1.7", "requests==2.34.2"],
        *["pytest==8.4.2", "pytest-asyncio==1.2.0", "pytest-mock==3.15.1", "pytest-timeout==2.4.0"],
    ],
}
# Suites that come in source distributions, and what building these needs.
SOURCES = {"eventstoredb": "0.9.0", "esdbcat": "0.2.0"}
NODE = {"@kurrent/kurrentdb-client": "1.3.1", "@eventstore/db-client": "6.2.1"}
CRATES = {"kurrentdb": "1.2.0", "eventstore": "4.0.0"}


class Installed:
    """The folder of everything that was fetched; each method makes its part if it is not there."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def once(self, name, wanted, make):
        """Calls `make` with a clean folder, unless this was made before for the same wish."""
        mark = hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
        folder = self.folder / name
        done = folder / f".made-{mark}"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            print(f"installing {name}", flush=True)
            make(folder)
            done.touch()
        return folder

    def python(self, name):
        """The Python of an environment that holds these packages."""

        def make(folder):
            checked([sys.executable, "-m", "venv", folder], FETCH_SECONDS)
            pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
            # One client was published before the newest Pythons and does not name them.
            checked([*pip, "--quiet", "--ignore-requires-python", *PYTHON[name]], FETCH_SECONDS)

        return self.once(f"python-{name}", PYTHON[name], make) / "bin/python"

    def source(self, name):
        """The unpacked source distribution of a package, with its tests."""
        version = SOURCES[name]

        def make(folder):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            pip += ["--no-binary", ":all:", "--ignore-requires-python"]
            pip += ["--dest", folder, f"{name}=={version}"]
            checked(pip, FETCH_SECONDS)
            with tarfile.open(folder / f"{name}-{version}.tar.gz") as archive:
                archive.extractall(folder, filter="data")

        return self.once(f"source-{name}", version, make) / f"{name}-{version}"

    def node(self):
        """The folder `node_modules` that holds both clients."""

        def make(folder):
            wanted = [f"{name}@{version}" for name, version in NODE.items()]
            npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
            checked([*npm, *wanted], FETCH_SECONDS)

        return self.once("node", NODE, make) / "node_modules"

    @property
    def target(self):
        return self.folder / "target"

    def cargo(self, *words, **more):
        environment = {"CARGO_TARGET_DIR": str(self.target), **more.pop("env", {})}
        return checked(["cargo", *words], BUILD_SECONDS, env=environment, **more)

    def rust_checks(self):
        """Our program of checks of the Rust clients."""
        manifest = HERE / "rust/Cargo.toml"
        self.cargo("build", "--quiet", "--locked", "--manifest-path", manifest)
        return self.target / "debug/checks"

    def crates(self, certificates):
        """A workspace of the Rust clients as published, with what their tests look for."""
        stand_in = HERE / "rust/testcontainers"

        def make(folder):
            sources = self.crate_sources()
            for name, source in sources.items():
                shutil.copytree(source, folder / name)
                (folder / name / "certs").symlink_to(certificates)
            shutil.copy(HERE / "rust/suites.lock", folder / "Cargo.lock")
            (folder / "Cargo.toml").write_text(
                f'[workspace]\nresolver = "2"\nmembers = {list(sources)}\n'.replace("'", '"')
                + f'[patch.crates-io]\ntestcontainers = {{ path = "{stand_in}" }}\n'
                + "[profile.dev]\ndebug = false\n"
            )

        return self.once("crates", (CRATES, str(stand_in), "2"), make)

    def crate_sources(self):
        """Where cargo keeps the sources of the clients that our own checks depend on."""
        manifest = HERE / "rust/Cargo.toml"
        self.cargo("fetch", "--quiet", "--locked", "--manifest-path", manifest)
        home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
        found = {}
        for name, version in CRATES.items():
            copies = sorted(home.glob(f"registry/src/*/{name}-{version}"))
            if not copies:
                raise Failed(f"cargo keeps no source of {name} {version}")
            found[name] = copies[-1]
        return found

    def suite_programs(self, certificates, tls):
        """The test programs of both crates. Whether they use TLS is compiled in."""
        workspace = self.crates(certificates)
        words = ["test", "--no-run", "--manifest-path", workspace / "Cargo.toml"]
        words += ["--test", "integration", "-p", "kurrentdb", "-p", "eventstore"]
        output = self.cargo(*words, env={"SECURE": "true"} if tls else {})
        programs = {}
        for path in re.findall(r"\((\S*/integration-[0-9a-f]+)\)", output):
            name = "kurrentdb" if b"kurrentdb::" in Path(path).read_bytes() else "eventstore"
            kept = self.folder / f"suite-{name}-{'tls' if tls else 'plain'}"
            shutil.copy(path, kept)
            programs[name] = kept
        if set(programs) != set(CRATES):
            raise Failed(f"cargo built {sorted(programs)}: {output[-300:]}")
        return programs
