"""Programs that run until the comparison ends, and what the kernel accounts to them."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import time


class Failure(Exception):
    """Ends the run with its message and without a traceback."""


class Process:
    """A program on the given CPUs, and the children it starts. It runs until the stack unwinds."""

    def __init__(self, name, argv, cpus, folder, stack, environment=None):
        self.name = name
        self.log = folder / f"{name}.log"
        with on_cpus(cpus), open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: what it starts is stopped with it, and Ctrl-C reaches only us.
                start_new_session=True,
            )
        stack.callback(self.stop)

    def pids(self):
        """Its own pid and those of its descendants."""
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name stands in parentheses and may hold anything, spaces included.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.popen.pid]
        for pid in found:
            found.extend(parents.get(pid, ()))
        return found

    def cpu_seconds(self):
        """Time on a CPU so far, user and kernel, over all threads, those that ended too."""
        # What clock_getcpuclockid(3) makes of a pid; the 2 asks for the scheduler's own nanoseconds
        # rather than for ticks.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def peak_kib(self):
        """The most memory that its largest process ever had resident."""
        return self.memory_kib("VmHWM")

    def resident_kib(self):
        """What its largest process has resident now."""
        return self.memory_kib("VmRSS")

    def memory_kib(self, row):
        found = [0]
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found += [int(kib) for kib in re.findall(rf"^{row}:\s+(\d+) kB", status, re.M)]
        return max(found)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def failed(self, what):
        said = self.log.read_text(errors="replace")[-4000:]
        return Failure(f"{self.name} {what}; it said:\n{said}")


@contextlib.contextmanager
def on_cpus(cpus):
    """What is started inside inherits these CPUs, and so do all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))} left with {done.returncode}:\n{done.stderr}")
    return done.stdout


def get(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until(process, ready, seconds=15):
    deadline = time.monotonic() + seconds
    last = "nothing"
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise process.failed(f"ended with {process.popen.returncode}")
        try:
            if ready():
                return
            last = "an answer, and not the right one"
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(0.05)
    raise process.failed(f"did not become ready within {seconds} s (last seen: {last})")
