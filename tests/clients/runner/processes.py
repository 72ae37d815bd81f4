"""Servers and programs as child processes: each is ended by its own id, each wait is bounded."""

import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 20
STOP_SECONDS = 20


class Failed(Exception):
    """Something that a suite needs could not be had."""


@dataclass
class Server:
    """`annal serve` on these ports, until it is stopped. It listens on IPv4 and IPv6 loopback."""

    binary: Path
    folder: Path
    ports: list
    certificates: Path | None = None
    process: subprocess.Popen | None = field(default=None, init=False)

    def command(self):
        return serve_command(self.binary, self.folder, self.ports, self.certificates)

    def __enter__(self):
        for port in self.ports:
            if is_taken(port):
                raise Failed(f"port {port} is taken")
        self.folder.mkdir(parents=True, exist_ok=True)
        log = open(self.folder.with_suffix(".log"), "ab")
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > end:
                self.stop()
                raise Failed(f"the server did not start: {self.last_words()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_error):
        self.stop()

    def answers(self):
        scheme = "https" if self.certificates else "http"
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        try:
            url = f"{scheme}://127.0.0.1:{self.ports[-1]}/health/live"
            with urllib.request.urlopen(url, timeout=2, context=unchecked) as response:
                return response.status in (200, 204)
        except (urllib.error.URLError, OSError):
            return False

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        end(self.process)

    def last_words(self):
        text = self.folder.with_suffix(".log").read_text(errors="replace")
        return " ".join(text.split())[-300:]


def serve_command(binary, folder, ports, certificates):
    """The command line of a server: with certificates it asks users who they are."""
    addresses = ",".join(f"127.0.0.1:{port},[::1]:{port}" for port in ports)
    command = [str(binary), "serve", "--data", str(folder), "--tcp", "127.0.0.1:0"]
    command += ["--http", addresses]
    if certificates:
        node = certificates / "node"
        command += ["--tls-cert", str(node / "node.crt"), "--tls-key", str(node / "node.key")]
        command += ["--tls-client-ca", str(certificates / "ca" / "ca.crt")]
        command += ["--users", "--compat-default-admin"]
    return command


def is_taken(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def end(process):
    """Asks a process to end, and makes it end if it does not."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(command, seconds, **more):
    """Runs a program in a group of its own, all of which ends with it or when the time is up.

    Returns its exit code, or None if the time was up, and what it wrote.
    """
    environment = {**os.environ, **more.pop("env", {})}
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
        **more,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        code = process.returncode
    except subprocess.TimeoutExpired:
        code = None
        kill_group(process)
        output, _ = process.communicate()
    finally:
        kill_group(process)
    return code, output.decode(errors="replace")


def kill_group(process):
    """Ends what the process left behind: the group is its own, made for it above."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def checked(command, seconds, **more):
    """Runs a program that has to succeed."""
    code, output = run(command, seconds, **more)
    if code != 0:
        how = "took too long" if code is None else f"ended with {code}"
        raise Failed(f"{' '.join(map(str, command[:3]))} {how}: {' '.join(output.split())[-600:]}")
    return output
