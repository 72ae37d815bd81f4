"""Each suite: what it needs, how it is run, and how its results become lines of one form:
`{"suite", "tls", "test", "outcome", "detail"}` or, of our own checks, `{"client", "tls", "call", ...}`.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from install import CRATES, HERE, NODE
from processes import Failed, Server, run, serve_command

CHECKS_SECONDS = 900
SUITE_SECONDS = 900
# The longest of them waits for what five minutes may bring.
FUNCTION_SECONDS = 180
# The tests that a suite names after what the server does not offer yet.
USER_PROJECTIONS = "JavaScript projections are not offered"


@dataclass
class World:
    """What suites run with."""

    binary: Path
    installed: object
    certificates: Path
    folder: Path
    results: list
    port: int
    tls_port: int
    only: str | None

    def add(self, **line):
        self.results.append(line)

    def lines(self, name, run_it):
        """Runs what writes lines of JSON to a file, and reads them."""
        out = self.folder / f"{name}.jsonl"
        out.unlink(missing_ok=True)
        code, output = run_it(out)
        (self.folder / f"{name}.log").write_text(output)
        lines = out.read_text().splitlines() if out.exists() else []
        if not lines:
            raise Failed(f"it wrote no results: {' '.join(output.split())[-300:]}")
        if code is None:
            raise Failed("it did not end in time")
        return [json.loads(line) for line in lines]

    def ca_words(self, tls):
        words = ["--port", self.tls_port if tls else self.port]
        return words + (["--ca", self.certificates / "ca/ca.crt"] if tls else [])


def python_checks(package):
    def suite(world, tls):
        python = world.installed.python(package)
        words = [python, HERE / "python/main.py", "--package", package, *world.ca_words(tls)]
        if world.only:
            words += ["--only", world.only]
        name = f"checks-{package}-{'tls' if tls else 'plain'}"
        world.results += world.lines(
            name, lambda out: run([*words, "--out", out], CHECKS_SECONDS)
        )

    return suite


def node_checks(package):
    def suite(world, tls):
        modules = world.installed.node()
        words = ["node", HERE / "node/main.js", "--package", package, *world.ca_words(tls)]
        if world.only:
            words += ["--only", world.only]
        name = f"checks-{package.split('/')[1]}-{'tls' if tls else 'plain'}"
        environment = {"NODE_PATH": str(modules), "NODE_NO_WARNINGS": "1"}
        world.results += world.lines(
            name, lambda out: run([*words, "--out", out], CHECKS_SECONDS, env=environment)
        )

    return suite


def rust_checks(client):
    def suite(world, tls):
        program = world.installed.rust_checks()
        words = [program, "--client", client, *world.ca_words(tls)]
        if world.only:
            words += ["--only", world.only]
        name = f"checks-{client}-{'tls' if tls else 'plain'}"
        world.results += world.lines(
            name, lambda out: run([*words, "--out", out], CHECKS_SECONDS)
        )

    return suite


def recorders(world, tls):
    """The recorder cases of `eventsourcing`."""
    python = world.installed.python("kurrentdbclient")
    words = [python, HERE / "python/recorders.py", *world.ca_words(tls)]
    name = f"recorders-{'tls' if tls else 'plain'}"
    for line in world.lines(name, lambda out: run([*words, "--out", out], CHECKS_SECONDS)):
        world.add(suite="eventsourcing 9.5 on eventsourcing-kurrentdb 1.2.2", tls=tls, **line)


def pytest_suite(name, title, *words):
    """A suite of a source distribution, on a server of its own: it reads everything that is there,
    and has little time for it."""

    def suite(world, tls):
        assert not tls
        python = world.installed.python("suites")
        source = world.installed.source(name)
        command = [python, "-m", "pytest", "-q", "-p", "no:docker", "-p", "pytest_server"]
        command += ["-p", "no:cacheprovider", "--timeout", "60", *words, "tests"]

        def run_it(out):
            environment = {
                "PYTHONPATH": str(HERE / "stand_ins"),
                "SERVER_PORT": str(world.port),
                "SERVER_RESULTS": str(out),
                "PATH": f"{python.parent}:{os.environ['PATH']}",
            }
            with Server(world.binary, world.folder / f"server-{name}", [world.port]):
                return run(command, SUITE_SECONDS, cwd=source, env=environment)

        for line in world.lines(f"suite-{name}", run_it):
            world.add(suite=title, tls=tls, **line)

    return suite


# The functions of the crates' test program, in the order to run them: the operations shut the
# server down.
SINGLE = ["streams", "persistent_subscriptions", "projections", "operations"]
ALONE = ["single_node_discover_error", "single_node_auto_resub_on_connection_drop"]
CERTIFICATES = ["root_certificates", "plugin_usercertificates"]


def crate_suite(crate):
    """The integration tests of a Rust crate: each function in a process and on a server of its
    own, that the stand-in for testcontainers starts."""

    def suite(world, tls):
        program = world.installed.suite_programs(world.certificates, tls)[crate]
        functions = [f"single_node_{group}" for group in SINGLE]
        functions += CERTIFICATES if tls else ALONE
        for function in functions:
            crate_function(world, crate, program, function, tls)

    return suite


def cluster_suite(crate):
    """The half of the same tests that expects a cluster: one TLS node listens on its three ports."""

    def suite(world, tls):
        assert tls
        program = world.installed.suite_programs(world.certificates, False)[crate]
        for group in SINGLE:
            folder = world.folder / f"cluster-{crate}-{group}"
            ports = [2111, 2112, 2113]
            with Server(world.binary, folder, ports, world.certificates):
                crate_function(world, crate, program, f"cluster_{group}", tls)

    return suite


def crate_function(world, crate, program, function, tls):
    title = f"{crate} {CRATES[crate]}"
    source = world.installed.crates(world.certificates) / crate
    scenarios = scenarios_of(source, function)
    if function.endswith("_projections"):
        for name in scenarios:
            world.add(suite=title, tls=tls, test=f"{function}/{name}", outcome="excluded",
                      detail=USER_PROJECTIONS)
        return
    script = start_script(world)
    environment = {
        "SERVER_START": str(script),
        "SERVER_FOLDERS": str(world.folder),
        "PATH": f"{HERE / 'stand_ins/bin'}:{os.environ['PATH']}",
        "RUST_BACKTRACE": "0",
    }
    command = [program, "--exact", function, "--nocapture", "--test-threads", "1"]
    code, output = run(command, FUNCTION_SECONDS, cwd=source, env=environment)
    log = world.folder / f"suite-{crate}-{function}-{'tls' if tls else 'plain'}.log"
    log.write_text(output)
    for name, outcome, detail in read_scenarios(scenarios, code, output):
        world.add(suite=title, tls=tls, test=f"{function}/{name}", outcome=outcome, detail=detail)


def start_script(world):
    """What the stand-in for testcontainers starts as a server."""
    script = world.folder / "start-server"
    words = {}
    for tls in (False, True):
        certificates = world.certificates if tls else None
        command = serve_command(world.binary, "$SERVER_DATA", ["$SERVER_PORT"], certificates)
        words[tls] = " ".join(f'"{word}"' for word in command)
    script.write_text(
        "#!/bin/sh\n"
        f'if [ "$SERVER_TLS" = true ]; then exec {words[True]}; fi\n'
        f"exec {words[False]}\n"
    )
    script.chmod(0o755)
    return script


SCENARIO = re.compile(r'"[Bb]efore (?:test )?(\w+)')
BEGUN = re.compile(r"[Bb]efore (?:test )?(\w+)")
ENDED = re.compile(r": .*(?:Complete|passed)\W*$")


def scenarios_of(source, function):
    """The names of the scenarios that a test function says it begins."""
    group = function.split("_", 2)[-1] if function.startswith("single") else function.split("_", 1)[-1]
    for path in (source / f"tests/api/{group}.rs", source / f"tests/misc/{function}.rs"):
        if path.exists():
            text = path.read_text()
            tests = text[text.index("pub async fn tests") :]
            return SCENARIO.findall(tests)
    return [function]


def read_scenarios(scenarios, code, output):
    """How far a test function came: it stops at the first scenario that fails."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    if len(scenarios) == 1:
        return [(scenarios[0], "works" if code == 0 else "differs", reason(code, plain))]
    begun = [name for name in BEGUN.findall(plain) if name in scenarios]
    results = []
    for name in scenarios:
        if name not in begun:
            after = f"it comes after {begun[-1]}" if begun else reason(code, plain)
            outcome = ("works", "") if code == 0 else ("not run", after)
        elif code != 0 and name == begun[-1]:
            outcome = ("differs", reason(code, plain))
        else:
            outcome = ("works", "")
        results.append((name, *outcome))
    return results


def reason(code, plain):
    if code == 0:
        return ""
    if code is None:
        return f"no end within {FUNCTION_SECONDS} s"
    lines = [line for line in plain.splitlines() if re.search(r"panicked|^Error|assert|ERROR", line)]
    following = plain.split("panicked at", 1)[-1].splitlines()[1:3] if "panicked" in plain else []
    return " ".join(" ".join(lines[-2:] + following).split())[:400] or plain.strip()[-300:]


# Every suite: its name on the command line, whether it wants TLS, and whether it is in the short
# form, which a machine of two cores ends in a few minutes; what compiles the Rust clients is not.
PLAIN, TLS = False, True
SUITES = [
    ("kurrentdbclient", python_checks("kurrentdbclient"), (PLAIN, TLS), True),
    ("esdbclient", python_checks("esdbclient"), (PLAIN, TLS), False),
    *[(package.split("/")[1], node_checks(package), (PLAIN, TLS), package.startswith("@kurrent"))
      for package in NODE],
    ("recorders", recorders, (PLAIN, TLS), False),
    ("rust-kurrentdb", rust_checks("kurrentdb"), (PLAIN, TLS), False),
    ("rust-eventstore", rust_checks("eventstore"), (PLAIN, TLS), False),
]
# These start their servers themselves, on the ports that the others are then off.
APART = [
    ("eventstoredb", pytest_suite(
        "eventstoredb", "eventstoredb 0.9.0", "-o", "addopts=", "-o", "asyncio_mode=auto"),
     (PLAIN,), True),
    ("esdbcat", pytest_suite("esdbcat", "esdbcat 0.2.0"), (PLAIN,), True),
    ("crate-kurrentdb", crate_suite("kurrentdb"), (PLAIN, TLS), False),
    ("crate-eventstore", crate_suite("eventstore"), (PLAIN, TLS), False),
    ("cluster-kurrentdb", cluster_suite("kurrentdb"), (TLS,), False),
    ("cluster-eventstore", cluster_suite("eventstore"), (TLS,), False),
]
