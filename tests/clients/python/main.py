"""Runs the checks of one Python client against one server; results are lines of JSON.

main.py --package kurrentdbclient --port 2113 [--ca FILE] [--only PREFIX] --out FILE
"""

import argparse
import importlib
import importlib.metadata
import os
import sys

import harness

# Each registers its checks, and in this order they run.
PARTS = ("streams", "following", "groups", "access")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True, choices=["kurrentdbclient", "esdbclient"])
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca")
    parser.add_argument("--only")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    for part in PARTS:
        importlib.import_module(part)
    version = importlib.metadata.version(options.package)
    context = harness.Context(options.package, options.host, options.port, options.ca)
    with open(options.out, "a", encoding="utf-8") as out:

        def write(line):
            out.write(line + "\n")
            out.flush()

        harness.run(context, f"{options.package} {version}", options.only, write)
    sys.stderr.flush()
    os._exit(0)  # checks that did not end are threads that never do


main()
