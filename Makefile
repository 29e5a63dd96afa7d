# The commands of the project: `make` alone lists them.
# Must not hold logic: what takes more than a line is a script in tests/.

PREFIX     ?= /usr
DESTDIR    ?=
LIBEXECDIR ?= $(PREFIX)/libexec
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
# Where Debian's zsh looks: vendor-completions below /usr/share, site-functions below /usr/local/share.
ZSHDIR     ?= $(DATADIR)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
SYSTEMDDIR ?= $(PREFIX)/lib
UNITDIR     = $(SYSTEMDDIR)/systemd/system
UNITS       = iscsi-initiatord.service iscsi-initiatord-boot.service iscsi-initiatord-logout.service
# For units of others, none of which is changed.
DROPINS     = iscsi.service.d/10-iscsi-initiatord.conf open-iscsi.service.d/20-iscsi-initiatord.conf libvirt-guests.service.d/iscsi-initiatord.conf
TARGET     ?= $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
CARGO      ?= cargo
RELEASE     = $(TARGET)/release
NAME        = org.cloudatlas.IscsiInitiator

.PHONY: help setup build check lint doc deny unit bus case virt test soak fuzz bench dev applet applet-run applet-test po demo shell install install-libvirt-hook install-applet uninstall uninstall-libvirt-hook uninstall-applet clean

help: ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what building and testing needs (Debian; asks sudo if you are not root)
	@tests/setup

build: ## build the daemon and the CLI
	@tests/with-cargo build --release --locked -p iscsi-initiatord -p iscsictl

check: ## format, lints, unit and bus tests but for the long ones: before every commit
	@tests/check

lint: ## format and lints alone
	@tests/check lint

doc: ## the documentation of the crates, where a warning is an error
	@tests/check doc

unit: ## the unit tests (TEST=name: those whose name has it)
	@tests/check unit $(TEST)

bus: ## the tests on a private bus (TEST=name: that file, folder or program of tests/tests, for example login)
	@tests/check bus $(TEST)

case: setup ## one scenario on the testbed's machine (CASE=name, SUITE=bookworm: Debian 12)
	@tests/case $(if $(SUITE),--suite $(SUITE)) $(CASE)

virt: setup ## libvirt's hook with the real libvirtd and QEMU, and boots and shutdowns of their host, on a machine of its own image
	@tests/virt

test: setup ## everything: what make check does and the long tests, and the scenarios on the testbed
	@tests/all

soak: setup ## the long scenarios whole: fifty logins and logouts, a kill at each step, boots and outages (SUITE=bookworm: Debian 12, without the boots)
	@tests/case $(if $(SUITE),--suite $(SUITE)) --soak logout-loop kill-steps kill records-differential $$(cd tests/testbed/scenes/cases && grep -l '^# soak: [a-z ]*\b$(or $(SUITE),trixie)\b' *)
	@$(if $(SUITE),:,tests/testbed/boot --reboots --limit 3600 --stage "$$(tests/stage)" reboots)

deny: ## licences, bans and sources of the dependencies (cargo-deny, installed if it is missing)
	@tests/deny

fuzz: setup ## any bytes at the login probe (TIME=60: seconds for each of its targets)
	@tests/fuzz $(TIME)

bench: setup ## what calls cost, and what a failed login is like with iscsiadm and with this: the tables in docs/, measured anew (PART=growth: one of them)
	@tests/bench $(PART)

dev: ## the daemon on a private bus beside a fake machine, for who writes a client (knobs from the standard input: help)
	@tests/dev

applet: ## build the desktop applet (in a Debian 13 room where this machine's GTK is older; docs/applet.md)
	@tests/applet/cargo build --release

applet-run: ## show the applet beside the daemon of `make dev` (knobs from the standard input: help)
	@tests/applet/show

applet-test: ## test the applet: its unit tests, its catalogue, and its window as a person uses it (CASE=name: one of the cases)
	@tests/applet/test $(CASE)

po: ## bring the translations up to date with the sources (client/po)
	@tests/applet/room run tests/translations update

demo: setup ## the main job, step by step, on a real machine with a real gateway (STAY=1: and a shell there)
	@tests/demo $(if $(STAY),--stay)

shell: setup ## a shell as an unprivileged user on that machine, everything installed
	@tests/demo --shell

install: ## put every file where a distribution would (DESTDIR=, PREFIX=/usr)
	install -D -m 0755 $(RELEASE)/iscsi-initiatord $(DESTDIR)$(LIBEXECDIR)/iscsi-initiatord
	install -D -m 0755 $(RELEASE)/iscsictl $(DESTDIR)$(BINDIR)/iscsictl
	install -D -m 0644 dbus/$(NAME).conf $(DESTDIR)$(DATADIR)/dbus-1/system.d/$(NAME).conf
	install -D -m 0644 dbus/$(NAME).service $(DESTDIR)$(DATADIR)/dbus-1/system-services/$(NAME).service
	install -D -m 0644 dbus/$(NAME).xml $(DESTDIR)$(DATADIR)/dbus-1/interfaces/$(NAME).xml
	install -D -m 0644 polkit/$(NAME).policy $(DESTDIR)$(DATADIR)/polkit-1/actions/$(NAME).policy
	install -D -m 0644 polkit/rules/50-$(NAME).rules.example $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/50-$(NAME).rules.example
	install -d $(DESTDIR)$(UNITDIR)/remote-fs.target.wants
	set -e; for unit in $(UNITS); do \
		sed 's|/usr/libexec/|$(LIBEXECDIR)/|' systemd/$$unit > $(DESTDIR)$(UNITDIR)/$$unit; \
		chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit; done
	ln -sfn ../iscsi-initiatord-boot.service $(DESTDIR)$(UNITDIR)/remote-fs.target.wants/iscsi-initiatord-boot.service
	set -e; for file in $(DROPINS); do install -D -m 0644 systemd/$$file $(DESTDIR)$(UNITDIR)/$$file; done
	install -D -m 0644 systemd/iscsi-initiatord.udev.rules $(DESTDIR)$(SYSTEMDDIR)/udev/rules.d/60-iscsi-initiatord.rules
	install -D -m 0644 systemd/iscsi-initiatord.modules-load $(DESTDIR)$(SYSTEMDDIR)/modules-load.d/iscsi-initiatord.conf
	install -D -m 0644 systemd/iscsi-initiatord.tmpfiles $(DESTDIR)$(SYSTEMDDIR)/tmpfiles.d/iscsi-initiatord.conf
	install -D -m 0644 systemd/iscsi-initiatord.sysusers $(DESTDIR)$(SYSTEMDDIR)/sysusers.d/iscsi-initiatord.conf
	install -D -m 0644 docs/man/iscsictl.1 $(DESTDIR)$(DATADIR)/man/man1/iscsictl.1
	install -D -m 0644 docs/man/iscsi-initiatord.8 $(DESTDIR)$(DATADIR)/man/man8/iscsi-initiatord.8
	install -D -m 0644 client/cli/completions/iscsictl.bash $(DESTDIR)$(DATADIR)/bash-completion/completions/iscsictl
	install -D -m 0644 client/cli/completions/_iscsictl $(DESTDIR)$(ZSHDIR)/_iscsictl
	@# For the applet, too.
	tests/translations install $(DESTDIR)$(DATADIR)/locale
	install -D -m 0644 README.md $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/README.md
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/docs docs/*.md
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/docs/adr docs/adr/*.md
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord CONTRIBUTING.md SECURITY.md
	install -D -m 0644 CHANGELOG.md $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/CHANGELOG.md
	install -D -m 0644 LICENSE $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord/LICENSE

HOOK = $(DESTDIR)/etc/libvirt/hooks/qemu.d/50-iscsi-initiator
install-libvirt-hook: ## put libvirt's hook where it looks for it, after make install (DESTDIR=, BINDIR=; docs/virtual-machines.md)
	install -d $(dir $(HOOK))
	sed 's|/usr/bin/|$(BINDIR)/|' client/libvirt/50-iscsi-initiator > $(HOOK)
	chmod 0755 $(HOOK)

uninstall-libvirt-hook: ## remove it again
	rm -f $(HOOK)

APPLET := $(NAME).Applet
ICONS := $(DATADIR)/icons/hicolor
install-applet: ## put the applet's files where a distribution would, after make applet and make install, which has its translations (DESTDIR=, PREFIX=/usr)
	install -D -m 0755 $(firstword $(wildcard $(TARGET)/applet/native/release/iscsi-applet $(TARGET)/applet/build/release/iscsi-applet)) $(DESTDIR)$(BINDIR)/iscsi-applet
	install -D -m 0644 client/applet/data/$(APPLET).desktop $(DESTDIR)$(DATADIR)/applications/$(APPLET).desktop
	install -D -m 0644 client/applet/data/$(APPLET).Tray.desktop $(DESTDIR)/etc/xdg/autostart/$(APPLET).Tray.desktop
	install -D -m 0644 client/applet/data/$(APPLET).metainfo.xml $(DESTDIR)$(DATADIR)/metainfo/$(APPLET).metainfo.xml
	install -d $(DESTDIR)$(DATADIR)/dbus-1/services
	sed 's|/usr/bin/|$(BINDIR)/|' client/applet/data/$(APPLET).service > $(DESTDIR)$(DATADIR)/dbus-1/services/$(APPLET).service
	chmod 0644 $(DESTDIR)$(DATADIR)/dbus-1/services/$(APPLET).service
	install -D -m 0644 -t $(DESTDIR)$(ICONS)/scalable/apps client/applet/data/icons/scalable/apps/$(APPLET).svg
	install -D -m 0644 -t $(DESTDIR)$(ICONS)/symbolic/apps client/applet/data/icons/scalable/apps/$(APPLET)-symbolic.svg
	install -D -m 0644 -t $(DESTDIR)$(ICONS)/symbolic/status client/applet/data/icons/scalable/actions/*.svg

uninstall-applet: ## remove what install-applet put there
	rm -f $(DESTDIR)$(BINDIR)/iscsi-applet
	rm -f $(DESTDIR)$(DATADIR)/applications/$(APPLET).desktop $(DESTDIR)/etc/xdg/autostart/$(APPLET).Tray.desktop
	rm -f $(DESTDIR)$(DATADIR)/metainfo/$(APPLET).metainfo.xml $(DESTDIR)$(DATADIR)/dbus-1/services/$(APPLET).service
	rm -f $(DESTDIR)$(ICONS)/scalable/apps/$(APPLET).svg $(DESTDIR)$(ICONS)/symbolic/apps/$(APPLET)-symbolic.svg
	rm -f $(addprefix $(DESTDIR)$(ICONS)/symbolic/status/,$(notdir $(wildcard client/applet/data/icons/scalable/actions/*.svg)))

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(LIBEXECDIR)/iscsi-initiatord $(DESTDIR)$(BINDIR)/iscsictl
	rm -f $(DESTDIR)$(DATADIR)/dbus-1/system.d/$(NAME).conf
	rm -f $(DESTDIR)$(DATADIR)/dbus-1/system-services/$(NAME).service
	rm -f $(DESTDIR)$(DATADIR)/dbus-1/interfaces/$(NAME).xml
	rm -f $(DESTDIR)$(DATADIR)/polkit-1/actions/$(NAME).policy
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS) $(DROPINS) remote-fs.target.wants/iscsi-initiatord-boot.service)
	rm -f $(DESTDIR)$(SYSTEMDDIR)/udev/rules.d/60-iscsi-initiatord.rules
	rm -f $(DESTDIR)$(SYSTEMDDIR)/modules-load.d/iscsi-initiatord.conf
	rm -f $(DESTDIR)$(SYSTEMDDIR)/tmpfiles.d/iscsi-initiatord.conf
	rm -f $(DESTDIR)$(SYSTEMDDIR)/sysusers.d/iscsi-initiatord.conf
	rm -f $(DESTDIR)$(DATADIR)/man/man1/iscsictl.1 $(DESTDIR)$(DATADIR)/man/man8/iscsi-initiatord.8
	rm -f $(DESTDIR)$(DATADIR)/bash-completion/completions/iscsictl $(DESTDIR)$(ZSHDIR)/_iscsictl
	rm -f $(DESTDIR)$(DATADIR)/locale/zh_CN/LC_MESSAGES/iscsi-initiator.mo
	rm -rf $(DESTDIR)$(DATADIR)/doc/iscsi-initiatord

clean: ## remove what was built, the testbed's image included
	@tests/applet/room remove
	rm -rf $(TARGET)
