"""What is around the window: the daemon on a fake machine (`make dev`), and a desktop with or without a tray.
Must not leave anything running."""

import json
import os
import socket
import subprocess

from apart import answered_apart
from gi.repository import Gio, GLib


class Machine:
    """A machine, and what is said of it: where its bus is, what its gateway has; its knobs are turned by lines."""

    def __init__(self, lines, facts):
        self.lines = lines
        self.answers = lines.makefile("r", encoding="utf-8")
        self.facts = facts
        self.address, self.portals, self.target = facts["address"], facts["portals"], facts["target"]
        self.user, self.secret = facts["user"], facts["secret"]
        # The initiator name that its gateway knows after `refuse-initiator`.
        self.known_name = facts["known-name"]

    def turn(self, line):
        """Turns a knob; what it answers."""
        self.lines.sendall(f"{line}\n".encode())
        answer = self.answers.readline().strip()
        assert answer and not answer.startswith("error"), f"{line}: {answer}"
        return answer

    def iscsi(self, *arguments, secret=False):
        """iscsictl on this machine."""
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address)
        given = self.secret if secret else ""
        ended = subprocess.run(
            [self.facts["iscsictl"], *arguments], env=environment, input=given, text=True, check=False, capture_output=True
        )
        assert ended.returncode == 0, f"iscsictl {' '.join(arguments)}: {ended.stderr}"
        return ended.stdout

    def connect(self):
        self.iscsi("connect", self.portals[0], "--user", self.user, "--secret-stdin", secret=True)

    def end(self):
        """The daemon, polkitd and the bus are gone."""
        self.lines.sendall(b"quit\n")

    def leave(self):
        self.answers.close()
        self.lines.close()


class Fake:
    """The program of `make dev`: the real daemon beside a machine of files. With `--polkit` also the real polkitd, as root."""

    def __init__(self, program, *options):
        self.lines, theirs = socket.socketpair()
        self.program = subprocess.Popen([program, *options], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        theirs.close()
        self.facts = {
            "iscsictl": os.path.join(os.path.dirname(program), "iscsictl"),
            "target": "iqn.2003-01.com.example:disks",
            "user": "libvirtd",
            "secret": "mypassword12",
            "known-name": "iqn.2001-04.com.example:another-machine",
        }
        for line in self.lines.makefile("r", encoding="utf-8"):
            words = line.split()
            if line.startswith("bus "):
                self.facts["address"] = words[1]
            if line.startswith("gateway "):
                self.facts["portals"] = [words[1], words[3].rstrip(":")]
            if line.startswith("Here: "):
                return
        raise AssertionError("the daemon did not start")

    def leave(self):
        # It ends with the last one who can turn its knobs.
        self.lines.close()
        try:
            self.program.wait(20)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()


OLD = """<node><interface name="org.cloudatlas.IscsiInitiator">
<property name="Version" type="s" access="read"/><property name="Features" type="as" access="read"/>
<property name="InitiatorName" type="s" access="read"/></interface></node>"""


class EmptyBus:
    """A system bus without polkit and without the service; or with one of before there were objects, or one that is silent."""

    def __init__(self, instead):
        self.program = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE, text=True
        )
        self.address = self.program.stdout.readline().strip()
        if instead != "nothing":
            self._serve(is_silent=instead == "silent")

    def _serve(self, is_silent):
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        self.bus = Gio.DBusConnection.new_for_address_sync(self.address, flags, None, None)
        if is_silent:
            # Who takes every message away answers none.
            self.bus.add_filter(lambda _bus, message, is_incoming: None if is_incoming and _is_call(message) else message)
        values = {
            "Version": GLib.Variant("s", "0.0.1"),
            "Features": GLib.Variant("as", ["connect"]),
            "InitiatorName": GLib.Variant("s", ""),
        }
        interface = Gio.DBusNodeInfo.new_for_xml(OLD).interfaces[0]
        name = "org.cloudatlas.IscsiInitiator"
        with answered_apart():
            self.bus.register_object(
                "/org/cloudatlas/IscsiInitiator", interface, None, lambda *called: values[called[4]], None
            )
            Gio.bus_own_name_on_connection(self.bus, name, Gio.BusNameOwnerFlags.NONE, None, None)

    def leave(self):
        self.program.terminate()
        self.program.wait(20)


def _is_call(message):
    return message.get_message_type() == Gio.DBusMessageType.METHOD_CALL


WATCHER = """<node><interface name="org.kde.StatusNotifierWatcher">
<method name="RegisterStatusNotifierItem"><arg type="s" direction="in"/></method>
<property name="IsStatusNotifierHostRegistered" type="b" access="read"/>
</interface></node>"""
NOTIFICATIONS = """<node><interface name="org.freedesktop.Notifications">
<method name="Notify"><arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/>
<arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="as" direction="in"/>
<arg type="a{sv}" direction="in"/><arg type="i" direction="in"/><arg type="u" direction="out"/></method>
<method name="CloseNotification"><arg type="u" direction="in"/></method>
<method name="GetCapabilities"><arg type="as" direction="out"/></method>
<signal name="ActionInvoked"><arg type="u"/><arg type="s"/></signal>
</interface></node>"""
WINDOW = """<node><interface name="org.freedesktop.Application">
<method name="Activate"><arg type="a{sv}" direction="in"/></method>
<method name="ActivateAction"><arg type="s" direction="in"/><arg type="av" direction="in"/><arg type="a{sv}" direction="in"/></method>
</interface></node>"""


class Desk:
    """A stand-in for a desktop: a tray host, a notification server, and the window that a click opens."""

    def __init__(self):
        self.items, self.shown, self.closed, self.opened = [], [], [], []
        self.bus = Gio.bus_get_sync(Gio.BusType.SESSION)
        places = [
            ("org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher", WATCHER),
            ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", NOTIFICATIONS),
            ("org.cloudatlas.IscsiInitiator.Applet", "/org/cloudatlas/IscsiInitiator/Applet", WINDOW),
        ]
        with answered_apart():
            for name, path, document in places:
                interface = Gio.DBusNodeInfo.new_for_xml(document).interfaces[0]
                self.bus.register_object(path, interface, self._called, lambda *_: GLib.Variant("b", True), None)
                Gio.bus_own_name_on_connection(self.bus, name, Gio.BusNameOwnerFlags.NONE, None, None)

    def _called(self, _bus, sender, _path, _interface, method, parameters, invocation):
        values = parameters.unpack()
        answer = None
        if method == "RegisterStatusNotifierItem":
            self.items.append(sender)
        elif method == "Notify":
            before, title, body, hints = values[1], values[3], values[4], values[6]
            number = before or len(self.shown) + 1
            self.shown.append({"id": number, "title": title, "body": body, "urgency": hints.get("urgency")})
            answer = GLib.Variant("(u)", (number,))
        elif method == "CloseNotification":
            self.closed.append(values[0])
        elif method == "GetCapabilities":
            answer = GLib.Variant("(as)", (["body", "actions"],))
        elif method == "ActivateAction":
            self.opened.append((values[0], values[1]))
        elif method == "Activate":
            self.opened.append(("", []))
        invocation.return_value(answer)

    def click(self, number):
        """The person clicks a notification."""
        parameters = GLib.Variant("(us)", (number, "default"))
        self.bus.emit_signal(
            None, "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "ActionInvoked", parameters
        )

    def _call(self, path, interface, method, parameters):
        return self.bus.call_sync(
            self.items[-1], path, interface, method, parameters, None, Gio.DBusCallFlags.NONE, 10000, None
        ).unpack()

    def icon(self):
        """The properties of the icon."""
        parameters = GLib.Variant("(s)", ("org.kde.StatusNotifierItem",))
        return self._call("/StatusNotifierItem", "org.freedesktop.DBus.Properties", "GetAll", parameters)[0]

    def menu(self):
        """The texts of the menu, by number."""
        parameters = GLib.Variant("(iias)", (0, -1, []))
        _, (_, _, children) = self._call("/MenuBar", "com.canonical.dbusmenu", "GetLayout", parameters)
        return {number: properties.get("label", "") for number, properties, _ in children}

    def choose(self, number):
        parameters = GLib.Variant("(isvu)", (number, "clicked", GLib.Variant("i", 0), 0))
        self._call("/MenuBar", "com.canonical.dbusmenu", "Event", parameters)

    def said(self):
        return json.dumps(self.shown, ensure_ascii=False)
