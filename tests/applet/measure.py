"""Measures the applet's window and tray beside the daemon on a fake machine, as rows of a table.
Must not judge.

usage: measure.py APPLET DEV [SECONDS]      (in the room; SECONDS of rest, 60)"""

import os
import subprocess
import sys
import time

# Milliseconds of a tick.
TICK = 1000 // os.sysconf("SC_CLK_TCK")
# So many looks without a tick in between are a rest.
STILL = 20
# Seconds until what a start has left behind is gone.
SETTLES = 20


def ticks(pid):
    """What it has taken of the processor, with the threads that have ended."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def status(path, key):
    with open(f"{path}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{key}:"))


def sleeps(pid):
    """How often each of its threads went to sleep."""
    threads = os.listdir(f"/proc/{pid}/task")
    return {thread: status(f"/proc/{pid}/task/{thread}", "voluntary_ctxt_switches") for thread in threads}


def woken(before, now):
    """How often its threads were woken; one that has ended was woken for that."""
    return sum(count - before.get(thread, 0) for thread, count in now.items()) + len(before.keys() - now.keys())


def until(what, look):
    deadline = time.monotonic() + 60
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"measure: {what}: not within 60 s")
        time.sleep(0.02)


def rest(pid):
    """Waits until nothing is done any more."""
    same, last = 0, -1

    def is_still():
        nonlocal same, last
        now = ticks(pid)
        same, last = (same + 1 if now == last else 0), now
        return same >= STILL

    until("a rest", is_still)


def measure(role, command, is_shown, seconds):
    program = subprocess.Popen(command)
    try:
        until(f"the {role}", lambda: is_shown(program.pid))
        rest(program.pid)
        taken, resident = ticks(program.pid) * TICK, status(f"/proc/{program.pid}", "VmRSS") // 1024
        # GTK ends the threads that its start needed, and the daemon tells the last of what was new.
        time.sleep(SETTLES)
        before = sleeps(program.pid)
        time.sleep(seconds)
        times = woken(before, sleeps(program.pid))
    finally:
        program.terminate()
        program.wait()
    print(f"| {role} | {taken} ms | {resident} MiB | {times} |", flush=True)


def inside(applet, dev, seconds):
    from gi.repository import Gio, GLib

    from world import Fake, Machine

    fake = Fake(dev)
    machine = Machine(fake.lines, fake.facts)
    try:
        machine.connect()
        # No screen reader: its questions would be counted.
        os.environ.update(DBUS_SYSTEM_BUS_ADDRESS=machine.address, GTK_A11Y="none")

        def has_window(pid):
            found = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--pid", str(pid)], capture_output=True, check=False
            )
            return bool(found.stdout)

        bus = Gio.bus_get_sync(Gio.BusType.SESSION)

        def has_tray(_):
            parameters = GLib.Variant("(s)", ("org.cloudatlas.IscsiInitiator.Applet.Tray",))
            name = "org.freedesktop.DBus"
            return bus.call_sync(name, "/", name, "NameHasOwner", parameters, None, 0, -1, None).unpack()[0]

        print(f"| role | processor time until it rests | resident | woken in {seconds} s of rest |\n|---|--:|--:|--:|")
        measure("window", [applet], has_window, seconds)
        measure("tray", [applet, "--tray"], has_tray, seconds)
    finally:
        machine.leave()
        fake.leave()


def main():
    if sys.argv[1] == "--inside":
        inside(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    from run import desktop, person
    from stories import Story

    applet, dev, *seconds = sys.argv[1:]
    with desktop(Story(None)) as (environment, work):
        command = [*person(), sys.executable, os.path.abspath(__file__), "--inside", applet, dev]
        sys.exit(subprocess.run([*command, *(seconds or ["60"])], env=environment, cwd=work, check=False).returncode)


main()
