//! A virtual machine's XML: who it is, and which targets and disks it wants.
//! Must not resolve an entity, or repeat what is in it but for names that were checked.

use std::{collections::BTreeSet, time::Duration};

use iscsi_initiator_dbus::{GuestUuid, Iqn, Portal};
use roxmltree::{Document, Node, ParsingOptions};

use super::{clock, source::Source};
use crate::language::{self, say};

/// The name space of the element in `<metadata>`.
pub(super) const NAMESPACE: &str = "https://cloudatlas.org/IscsiInitiator/libvirt/1.0";

/// The most elements and texts; a machine with a hundred disks has a third of that.
const NODES: u32 = 1 << 13;

/// The most targets and disks.
const MOST: usize = 256;

/// The most paths that may be wanted of a target's disks.
const MOST_PATHS: u32 = 64;

/// A longer path is none.
const LONGEST_PATH: usize = 255;

/// What of a virtual machine matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) uuid: GuestUuid,
    /// From the metadata; `None` where it has no such element.
    pub(super) targets: Option<Vec<Wanted>>,
    /// What the whole start may take, from the metadata.
    pub(super) timeout: Option<Duration>,
    /// The block devices that it gets, by the paths that it has for them.
    pub(super) disks: BTreeSet<String>,
}

/// A target that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: Iqn,
    /// The only portal to log in at; all that are recorded unless given.
    pub(super) portal: Option<Portal>,
    /// How many paths each disk must have before the start.
    pub(super) min_paths: usize,
}

impl Domain {
    /// Reads the XML. An error is the end of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // A document type is refused, and so are the entities that only it can define.
        let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| say!("it is malformed at line {line}", line = error.pos().row))?;
        let root = document.root_element();
        if !root.has_tag_name("domain") {
            return Err(say!("it is not that of a virtual machine"));
        }
        let text_of = |name: &str| {
            child(root, name).and_then(|node| node.text()).map(str::trim).unwrap_or_default().to_owned()
        };
        let uuid = text_of("uuid").parse().map_err(|_| say!("it has no UUID"))?;
        let metadata = child(root, "metadata")
            .and_then(|metadata| metadata.children().find(|node| node.has_tag_name((NAMESPACE, "targets"))));
        let (targets, timeout) = match metadata {
            Some(element) => {
                let (targets, timeout) = targets(element)?;
                (Some(targets), timeout)
            }
            None => (None, None),
        };
        let disks = disks(root);
        if disks.len() > MOST {
            return Err(say!("it has more than {most} disks", most = MOST));
        }
        Ok(Self { name: text_of("name"), uuid, targets, timeout, disks })
    }

    /// Whether nothing of it is a target's, for certain.
    pub(super) fn wants_nothing(&self) -> bool {
        match &self.targets {
            Some(targets) => targets.is_empty(),
            None => self.disks.iter().all(|disk| Source::of(disk) == Source::Other),
        }
    }

    /// Whether no target is named, and every disk that may be one's is there already: it may be no target's at all.
    pub(super) fn is_there_already(&self) -> bool {
        self.targets.is_none()
            && self.disks.iter().all(|disk| match Source::of(disk) {
                Source::Lun(_) => false,
                Source::Asked => std::path::Path::new(disk).exists(),
                Source::Other => true,
            })
    }
}

/// An element of libvirt's own, which are in no name space.
fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| is_libvirts(*child, name))
}

fn is_libvirts(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace().is_none() && node.tag_name().name() == name
}

/// The block devices of the disks, with those that they are layered on.
fn disks(root: Node<'_, '_>) -> BTreeSet<String> {
    let Some(devices) = child(root, "devices") else { return BTreeSet::new() };
    let disks = devices.children().filter(|node| is_libvirts(*node, "disk"));
    let sources = disks.flat_map(|disk| disk.descendants().filter(|node| is_libvirts(*node, "source")));
    let is_path = |path: &&str| path.starts_with("/dev/") && path.len() <= LONGEST_PATH;
    sources.filter_map(|node| node.attribute("dev").filter(is_path)).map(str::to_owned).collect()
}

/// What the element of the metadata says.
fn targets(element: Node<'_, '_>) -> Result<(Vec<Wanted>, Option<Duration>), String> {
    known(element, &["timeout"])?;
    let seconds = number(element, "timeout", clock::MOST)?;
    let mut found = Vec::<Wanted>::new();
    let of_ours = |node: &Node<'_, '_>| node.tag_name().namespace() == Some(NAMESPACE);
    for node in element.children().filter(Node::is_element).filter(of_ours) {
        if node.tag_name().name() != "target" {
            return Err(say!("its metadata has an unknown element among the targets"));
        }
        found.push(target(node)?);
        if found.len() > MOST {
            return Err(say!("its metadata has more than {most} targets", most = MOST));
        }
    }
    Ok((found, seconds.map(|seconds| Duration::from_secs(seconds.into()))))
}

fn target(node: Node<'_, '_>) -> Result<Wanted, String> {
    known(node, &["name", "portal", "min-paths"])?;
    let name = node.attribute("name").ok_or_else(|| say!("a target in its metadata has no name"))?;
    let name: Iqn = name
        .parse()
        .map_err(|error| say!("the name of a target in its metadata: {why}", why = language::word(error)))?;
    let portal = match node.attribute("portal") {
        None => None,
        Some(text) => Some(text.parse::<Portal>().map_err(|error| {
            say!("the portal of {name} in its metadata: {why}", name, why = language::word(error))
        })?),
    };
    let paths = number(node, "min-paths", MOST_PATHS)?.unwrap_or(1);
    Ok(Wanted { name, portal, min_paths: usize::try_from(paths).unwrap_or(1) })
}

/// A word that is mistyped would be one that is not heeded.
fn known(node: Node<'_, '_>, names: &[&str]) -> Result<(), String> {
    let is_known = |name: &str| names.contains(&name);
    match node.attributes().all(|attribute| attribute.namespace().is_some() || is_known(attribute.name())) {
        true => Ok(()),
        false => {
            Err(say!("its metadata has an unknown attribute: known are {names}", names = names.join(", ")))
        }
    }
}

fn number(node: Node<'_, '_>, name: &str, most: u32) -> Result<Option<u32>, String> {
    let Some(text) = node.attribute(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number
        .map(Some)
        .ok_or_else(|| say!("{name} in its metadata is not a number from 1 to {most}", name, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "C7A5FDBD-edaf-9455-926a-d65c16db1809";
    const TARGET: &str = "iqn.2003-01.com.example:disks";

    /// As libvirt writes it, with these disks and this in `<metadata>`.
    fn xml(metadata: &str, disks: &str) -> String {
        format!(
            "<domain type='kvm' id='3'>\n  <name>web &amp; more</name>\n  <uuid>{UUID}</uuid>\n  <metadata>{metadata}\
             </metadata>\n  <memory unit='KiB'>65536</memory>\n  <devices>\n    <emulator>/usr/bin/qemu</emulator>\n\
             {disks}    <graphics type='vnc' port='5900' passwd='top-secret'/>\n  </devices>\n</domain>\n"
        )
    }

    fn disk(source: &str) -> String {
        format!(
            "    <disk type='block' device='disk'>\n      <driver name='qemu' type='raw'/>\n      {source}\n      \
             <target dev='vda' bus='virtio'/>\n    </disk>\n"
        )
    }

    fn ours(content: &str) -> String {
        format!("<iscsi:targets xmlns:iscsi='{NAMESPACE}' {content}</iscsi:targets>")
    }

    fn refused(text: &str) -> String {
        Domain::parse(text).unwrap_err()
    }

    #[test]
    fn the_metadata_names_targets_paths_portal_and_time() {
        let metadata = ours(&format!(
            "timeout='45'><iscsi:target name='{TARGET}' min-paths='2'/><x:y xmlns:x='urn:x'/>\
             <iscsi:target name='iqn.2003-01.com.example:b' portal='[2001:db8::21]:3260'/>"
        ));
        let domain = Domain::parse(&xml(&metadata, &disk("<source dev='/dev/mapper/mpatha'/>"))).unwrap();
        assert_eq!((domain.name.as_str(), Ok(domain.uuid)), ("web & more", UUID.parse()));
        assert_eq!(domain.timeout, Some(Duration::from_secs(45)));
        let [a, b] = &domain.targets.unwrap()[..] else { panic!("two targets") };
        assert_eq!((a.name.as_str(), a.min_paths, a.portal.is_none()), (TARGET, 2, true));
        assert_eq!((b.min_paths, b.portal.clone()), (1, "[2001:db8::21]:3260".parse().ok()));
    }

    #[test]
    fn the_name_space_counts_and_not_its_prefix() {
        let own = format!("<targets xmlns='{NAMESPACE}'><target name='{TARGET}'/></targets>");
        assert_eq!(Domain::parse(&xml(&own, "")).unwrap().targets.unwrap().len(), 1);
        for other in [
            format!("<iscsi:targets xmlns:iscsi='urn:other'><iscsi:target name='{TARGET}'/></iscsi:targets>"),
            format!("<targets><target name='{TARGET}'/></targets>"),
            format!("<a>{}</a>", ours(&format!("><iscsi:target name='{TARGET}'/>"))),
        ] {
            let domain = Domain::parse(&xml(&other, "")).unwrap();
            assert!(domain.targets.is_none() && domain.wants_nothing(), "{other}");
        }
        let nothing = Domain::parse(&xml(&ours(">"), &disk("<source dev='/dev/mapper/mpatha'/>"))).unwrap();
        assert!(nothing.wants_nothing(), "an empty element says so");
    }

    #[test]
    fn without_metadata_the_disks_count_with_what_they_are_layered_on() {
        let by_path = format!("/dev/disk/by-path/ip-192.0.2.21:3260-iscsi-{TARGET}-lun-0");
        let layered = "<source file='/srv/a.qcow2'/><backingStore type='block'><source \
                       dev='/dev/disk/by-id/wwn-0x6001405a1b2c3d4e5f60718293a4b5c6'/></backingStore>";
        let disks = disk(&format!("<source dev='{by_path}' index='1'/>")) + &disk(layered);
        let domain = Domain::parse(&xml("", &disks)).unwrap();
        let expected = ["/dev/disk/by-id/wwn-0x6001405a1b2c3d4e5f60718293a4b5c6", by_path.as_str()];
        assert_eq!(domain.disks.iter().collect::<Vec<_>>(), expected);
        assert!(!domain.wants_nothing() && !domain.is_there_already());
    }

    #[test]
    fn a_machine_without_an_iscsi_disk_wants_nothing() {
        for source in [
            "<source file='/var/lib/libvirt/images/a.qcow2'/>",
            "<source dev='/dev/vg/lv'/>",
            "<source dev='relative'/>",
            "<source protocol='iscsi' name='iqn.2003-01.com.example:disks/0'><host name='192.0.2.21'/></source>",
            "<source xmlns='urn:x' dev='/dev/mapper/mpatha'/>",
        ] {
            let domain = Domain::parse(&xml("", &disk(source))).unwrap();
            assert!(domain.wants_nothing() && domain.is_there_already(), "{source}");
        }
        let elsewhere = xml("", "").replace("</devices>", "</devices><source dev='/dev/mapper/mpatha'/>");
        assert!(Domain::parse(&elsewhere).unwrap().wants_nothing());
    }

    #[test]
    fn what_is_mistyped_in_the_metadata_is_refused_and_not_repeated() {
        for (content, why) in [
            ("><iscsi:target/>".to_owned(), "has no name"),
            ("><iscsi:target name='secret'/>".to_owned(), "the name of a target"),
            (format!("><iscsi:target name='{TARGET}' portal='secret/'/>"), "the portal of"),
            (format!("><iscsi:target name='{TARGET}' min-paths='0'/>"), "from 1 to 64"),
            (format!("><iscsi:target name='{TARGET}' min-paths='secret'/>"), "min-paths"),
            (format!("><iscsi:target name='{TARGET}' secret='2'/>"), "known are name, portal, min-paths"),
            ("timeout='61'>".to_owned(), "from 1 to 60"),
            ("secret='1'>".to_owned(), "known are timeout"),
            ("><iscsi:secret/>".to_owned(), "unknown element"),
        ] {
            let said = refused(&xml(&ours(&content), ""));
            assert!(said.contains(why) && !said.contains("secret"), "{content}: {said}");
        }
        let many = ours(&format!(">{}", format!("<iscsi:target name='{TARGET}'/>").repeat(MOST + 1)));
        assert!(refused(&xml(&many, "")).contains("more than"));
    }

    #[test]
    fn hostile_documents_are_refused_and_none_of_them_is_shown() {
        let deep = format!("<domain>{}", "<a>".repeat(200_000));
        let wide = format!("<domain>{}</domain>", "<a/>".repeat(100_000));
        for text in [
            "",
            "secret",
            "<domain>",
            "<network><name>secret</name></network>",
            "<domain><name>secret</name></domain>",
            "<domain><name>secret</name><uuid>../../etc</uuid></domain>",
            "<x:domain xmlns:x='urn:x'><uuid>secret</uuid></x:domain>",
            "<!DOCTYPE domain [<!ENTITY a 'secret'>]><domain><name>&a;</name></domain>",
            "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
            "<domain>&secret;</domain>",
            "<domain><p:secret/></domain>",
            &deep,
            &wide,
        ] {
            let text = text.to_owned();
            // As deep as the parser goes, it has the room that the hook gives it.
            let parse = move || refused(&text);
            let said = std::thread::Builder::new().stack_size(64 << 20).spawn(parse).unwrap().join().unwrap();
            assert!(!said.contains("secret") && said.len() < 120, "{said}");
        }
    }
}
