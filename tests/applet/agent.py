"""polkit's agent of a person's session: registered with polkitd for one program, it asks for a password as a desktop's does.
Must not answer anything that the person did not say it would, or know whether a password is right: polkit's helper does."""

import gi

gi.require_version("Polkit", "1.0")
gi.require_version("PolkitAgent", "1.0")
from apart import answered_apart  # noqa: E402
from gi.repository import Gio, GLib, Polkit, PolkitAgent  # noqa: E402

AGENT = """<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
<method name="BeginAuthentication"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
<arg type="a{ss}" direction="in"/><arg type="s" direction="in"/><arg type="a(sa{sv})" direction="in"/></method>
<method name="CancelAuthentication"><arg type="s" direction="in"/></method>
</interface></node>"""
PATH = "/org/cloudatlas/IscsiInitiator/tests/Agent"
CANCELLED = "org.freedesktop.PolicyKit1.Error.Cancelled"


class Agent:
    """Asks a person: what is asked, and what they enter, one password after the other; without one they close the dialog."""

    def __init__(self, address, program, language):
        self.asked, self.enters, self.sessions = [], [], []
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        self.bus = Gio.DBusConnection.new_for_address_sync(address, flags, None, None)
        interface = Gio.DBusNodeInfo.new_for_xml(AGENT).interfaces[0]
        with answered_apart():
            self.bus.register_object(PATH, interface, self._called, None, None)
        with open(f"/proc/{program}/stat", encoding="utf-8") as file:
            began = int(file.read().rsplit(")", 1)[1].split()[19])
        process = {"pid": GLib.Variant("u", program), "start-time": GLib.Variant("t", began)}
        self.bus.call_sync(
            "org.freedesktop.PolicyKit1",
            "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority",
            "RegisterAuthenticationAgent",
            GLib.Variant("((sa{sv})ss)", (("unix-process", process), language or "C", PATH)),
            None,
            Gio.DBusCallFlags.NONE,
            20000,
            None,
        )

    def will_enter(self, *passwords):
        self.enters = list(passwords)

    def _called(self, _bus, _sender, _path, _interface, method, parameters, invocation):
        if method != "BeginAuthentication":
            invocation.return_value(None)
            return
        action, message, _icon, _details, cookie, identities = parameters.unpack()
        users = [Polkit.UnixUser.new(details["uid"]) for kind, details in identities if kind == "unix-user"]
        self.asked.append((action, message))
        self._ask(users[0], cookie, invocation)

    def _ask(self, user, cookie, invocation):
        if not self.enters:
            invocation.return_dbus_error(CANCELLED, "the person has closed the dialog")
            return
        # It runs polkit's helper, which has PAM look at the password, and tells polkitd.
        session = PolkitAgent.Session.new(user, cookie)
        session.connect("request", lambda session, _question, _is_shown: session.response(self.enters.pop(0)))

        def completed(_session, has_gained):
            if has_gained:
                invocation.return_value(None)
            else:
                self._ask(user, cookie, invocation)

        session.connect("completed", completed)
        # None is collected while it waits, or in its last signal: polkit's library goes on with it after that.
        self.sessions.append(session)
        session.initiate()
