"""Runs the published clients and their suites against Annal; see ../README.md."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import certificates
import report
from install import HERE, Installed
from processes import Failed, Server, checked
from suites import APART, PLAIN, SUITES, TLS, World

ROOT = HERE.parent.parent


def arguments():
    names = [name for name, *_ in SUITES + APART]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="SUITE",
                        help=f"run this suite, one of: {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="run what ends in a few minutes")
    parser.add_argument("--plain", action="store_true", help="run nothing over TLS")
    parser.add_argument("--check", metavar="PREFIX", help="run only our checks that begin so")
    parser.add_argument("--annal", type=Path, help="the program to test; else it is built")
    parser.add_argument("--cache", type=Path, default=default_cache(),
                        help="where clients are installed, outside of the repository")
    parser.add_argument("--port", type=int, default=2113, help="of the server without TLS")
    parser.add_argument("--tls-port", type=int, default=2114, help="of the server with TLS")
    parser.add_argument("--table", type=Path, help="where to write the table of results")
    return parser.parse_args()


def default_cache():
    home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("ANNAL_CLIENTS_CACHE", Path(home) / "annal-clients"))


def build():
    """The server as it is released, except for what only speeds it up further."""
    words = ["build", "--locked", "--all-features", "--message-format", "json"]
    output = checked(["cargo", *words, "--manifest-path", ROOT / "Cargo.toml"], 3600)
    for line in output.splitlines():
        if line.startswith("{"):
            message = json.loads(line)
            if message.get("executable") and message["target"]["name"] == "annal":
                return Path(message["executable"])
    raise Failed("cargo built no program")


def main():
    options = arguments()
    cache = options.cache.resolve()
    if cache.is_relative_to(ROOT):
        sys.exit("the cache must lie outside of the repository")
    every = SUITES + APART
    chosen = options.only or [name for name, _, _, short in every if short or not options.short]
    left_out = [name for name, *_ in every if name not in chosen]
    if left_out:
        print(f"not part of this run: {', '.join(left_out)}", flush=True)
    installed = Installed(cache)
    folder = Path(tempfile.mkdtemp(prefix="annal-clients-"))
    world = World(
        binary=options.annal.resolve() if options.annal else build(),
        installed=installed,
        certificates=certificates.make(cache / "certificates"),
        folder=folder,
        results=[],
        port=options.port,
        tls_port=options.tls_port,
        only=options.check,
    )
    modes = (PLAIN,) if options.plain else (PLAIN, TLS)
    run_together(world, chosen, modes)
    for name, suite, wanted, _ in APART:
        for tls in wanted:
            if name in chosen and tls in modes:
                run_one(world, name, suite, tls)
    finish(world, options, complete=not left_out and not options.plain and not options.check)


def run_together(world, chosen, modes):
    """The suites that use servers which already run: one without TLS, one with."""
    for tls in modes:
        suites = [(name, suite) for name, suite, wanted, _ in SUITES if name in chosen and tls in wanted]
        if not suites:
            continue
        with ExitStack() as stack:
            try:
                port = world.tls_port if tls else world.port
                certificates_of = world.certificates if tls else None
                folder = world.folder / ("tls" if tls else "plain")
                server = Server(world.binary, folder, [port], certificates_of)
                stack.enter_context(server)
                if tls:
                    make_user(world)
            except Failed as failed:
                for name, _ in suites:
                    not_run(world, name, tls, failed)
                continue
            for name, suite in suites:
                run_one(world, name, suite, tls)
                if not server.is_running():
                    not_run(world, f"the server after {name}", tls, server.last_words())
                    break


def make_user(world):
    python = world.installed.python("kurrentdbclient")
    address = f"localhost:{world.tls_port}"
    words = [python, HERE / "runner/users.py", address, world.certificates / "ca/ca.crt"]
    checked([*words, "alice", "wonderland"], 60)


def run_one(world, name, suite, tls):
    print(f"{name}, {'over' if tls else 'without'} TLS", flush=True)
    before = len(world.results)
    try:
        suite(world, tls)
    except Failed as failed:
        not_run(world, name, tls, failed)
    count = {}
    for line in world.results[before:]:
        count[line["outcome"]] = count.get(line["outcome"], 0) + 1
    print("  " + ", ".join(f"{many} {outcome}" for outcome, many in sorted(count.items())), flush=True)


def not_run(world, name, tls, why):
    """A suite that could not run has not passed."""
    world.add(suite=name, tls=tls, test="all", outcome="not run", detail=str(why))


def finish(world, options, complete):
    """Writes results and the table, and fails unless every difference has its known reason."""
    unexplained = report.explain(world.results, report.load_reasons(HERE / "differences.json"))
    lines = world.folder / "results.jsonl"
    lines.write_text("".join(json.dumps(line) + "\n" for line in world.results))
    version = checked([world.binary, "--version"], 30).split()[-1]
    table = options.table or (ROOT / "docs/compatibility.md" if complete else None)
    if table:
        table.parent.mkdir(exist_ok=True)
        table.write_text(report.render(world.results, version))
        print(f"wrote {table}")
    for detail, places in report.by_detail(unexplained).items():
        print(f"{detail}:\n  " + "\n  ".join(places))
    print(f"{len(world.results)} results, {len(unexplained)} of them not as they should be: {lines}")
    if unexplained or not world.results:
        sys.exit(1)
    keep = lines.read_text()
    shutil.rmtree(world.folder)
    (options.cache / "results.jsonl").write_text(keep)


main()
