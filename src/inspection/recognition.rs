//! Which profile the hardware is recognised by: a board by its device tree or by DMI, everything else by its
//! architecture. Nothing is guessed: two profiles that match alike are an error, and where nothing shows the
//! board, that is said.

use std::rc::Rc;

use super::RequestError;
use super::profiles::{self, Found, Place};
use crate::facts::hardware::{DeviceTree, Dmi};
use crate::facts::{Evidence, Facts, Sourced};
use crate::host::{Fact, Unread};
use crate::profile::{self, DmiNames, Layer, Pattern, Recognise};

/// The profile of whatever no other recognises.
const LAST: &str = "generic";
/// How the names of boards begin that boot loaders are told apart by.
const BOOT_KNOWS: [&str; 2] = ["raspberrypi,", "nvidia,"];
const NAME_IT: &str = "name it with --profile";

/// What shows which machine this is.
pub(super) struct Identity {
    tree: Fact<Rc<Option<DeviceTree>>>,
    dmi: Fact<Rc<Option<Dmi>>>,
    arch: Option<String>,
    running: bool,
}

/// How firmly a profile recognises a machine, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    rank: Rank,
    /// The file and the string in it, as a clause.
    pub(super) why: String,
}

/// The lower the step the firmer: the place in the device tree, where a board's own name comes first and that of
/// its chip later; a product's name in DMI is a board's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rank {
    step: usize,
    /// By DMI: how much of it is named.
    detail: Option<Detail>,
}

/// How many names, how many of them as a whole, of how many characters.
type Detail = (usize, usize, usize);

const VENDOR_ONLY: usize = usize::MAX - 1;
const ARCH_ONLY: usize = usize::MAX;

impl Identity {
    /// That of a host.
    pub(super) fn of(facts: &Facts) -> Identity {
        Identity { tree: facts.device_tree(), dmi: facts.dmi(), arch: facts.arch(), running: facts.running() }
    }

    /// Whether this hardware is recognised, and by what.
    pub(super) fn recognised_by(&self, recognise: &Recognise) -> Option<Match> {
        let arch = match &recognise.arch[..] {
            [] => None,
            wanted => Some(self.arch.as_ref().filter(|arch| wanted.contains(arch))?),
        };
        if recognise.compatible.is_empty() && recognise.dmi.is_empty() {
            let of = if self.running { "" } else { " of the image" };
            let why = format!("the architecture{of} is {}", arch?);
            return Some(Match { rank: Rank { step: ARCH_ONLY, detail: None }, why });
        }
        let by_tree = self.by_tree(&recognise.compatible);
        let by_dmi = recognise.dmi.iter().filter_map(|names| self.by_dmi(names));
        let by_dmi = by_dmi.max_by_key(|found| (std::cmp::Reverse(found.rank.step), found.rank.detail));
        match (by_tree, by_dmi) {
            (Some(tree), Some(dmi)) if dmi.rank.step < tree.rank.step => Some(dmi),
            (tree, dmi) => tree.or(dmi),
        }
    }

    fn by_tree(&self, compatible: &[String]) -> Option<Match> {
        let tree = self.tree.as_ref().ok()?;
        let said = &(**tree).as_ref()?.compatible;
        let (step, name) = said.iter().enumerate().find(|(_, name)| compatible.contains(&name.value))?;
        let why = format!("{} says {}", name.at.path, name.value);
        Some(Match { rank: Rank { step, detail: None }, why })
    }

    fn by_dmi(&self, names: &DmiNames) -> Option<Match> {
        let dmi = self.dmi.as_ref().ok()?;
        let dmi = (**dmi).as_ref()?;
        let fields = [
            (&names.vendor, &dmi.sys_vendor),
            (&names.product, &dmi.product_name),
            (&names.board, &dmi.board_name),
        ];
        let wanted = || fields.iter().filter_map(|(wanted, said)| Some((wanted.as_ref()?, said)));
        let matches = |(wanted, said): (&Pattern, &&Option<Sourced<String>>)| {
            said.as_ref().is_some_and(|said| wanted.matches(&said.value))
        };
        if !wanted().all(matches) {
            return None;
        }
        let says = |at: &Evidence, said: &str| format!("{} says {said}", at.path);
        let said: Vec<String> =
            wanted().filter_map(|(_, said)| said.as_ref().map(|said| says(&said.at, &said.value))).collect();
        let whole = wanted().filter(|(wanted, _)| !wanted.open).count();
        let characters = wanted().map(|(wanted, _)| wanted.text.len()).sum();
        let step = if names.product.is_some() || names.board.is_some() { 0 } else { VENDOR_ONLY };
        let rank = Rank { step, detail: Some((wanted().count(), whole, characters)) };
        Some(Match { rank, why: said.join(", ") })
    }

    /// Whether all was readable that shows the hardware, so that what is not recognised is something else.
    pub(super) fn is_known(&self) -> bool {
        self.running && self.tree.is_ok() && self.dmi.is_ok() && self.arch.is_some()
    }

    /// Why no board can be told, where that is not because there is no profile for it.
    fn unseen(&self) -> Option<String> {
        if !self.running {
            return Some(format!("a board cannot be recognised in an image: {NAME_IT}"));
        }
        let why = |unread: &Unread| format!("no board is guessed, because {}: {NAME_IT}", clause(unread));
        self.tree.as_ref().err().or(self.dmi.as_ref().err()).map(why)
    }
}

fn clause(unread: &Unread) -> String {
    match unread {
        Unread::Denied { path } => format!("{path} may not be read"),
        other => format!("of what tells it {other}"),
    }
}

/// Whether a running host is other hardware than a profile is for, or that cannot be told: what is said of
/// the choice, and why no boot file may be written. A profile that recognises nothing is for the hardware of
/// the nearest one that it extends.
pub(super) fn other_hardware(identity: &Identity, layers: &[Layer]) -> Option<(String, String)> {
    let asked = layers.iter().rev().find(|layer| layer.recognise != Recognise::default())?;
    if !identity.running || identity.recognised_by(&asked.recognise).is_some() {
        return None;
    }
    let name = asked.name();
    if !identity.is_known() {
        let why = identity.tree.as_ref().err().or(identity.dmi.as_ref().err()).map(clause);
        let why = why.map(|why| format!(", because {why}")).unwrap_or_default();
        let refused = format!("whether the profile {name} is for this hardware cannot be told{why}");
        return Some((format!("; {refused}"), refused));
    }
    let is_own = layers.last().is_some_and(|layer| layer.name() == name);
    let who = if is_own { "it".to_owned() } else { format!("{name}, which it extends,") };
    let said = format!("; {who} does not recognise this hardware");
    Some((said, format!("the profile {name} is for other hardware than this")))
}

/// What the device tree says on the boards that a profile is for, as far as boot loaders tell boards apart;
/// where the profile names none, those of the nearest one that it extends.
pub(super) fn boards(layers: &[Layer]) -> Vec<String> {
    let known = |layer: &Layer| -> Vec<String> {
        let names = layer.recognise.compatible.iter();
        names.filter(|name| BOOT_KNOWS.iter().any(|vendor| name.starts_with(vendor))).cloned().collect()
    };
    let found = layers.iter().rev().map(known).find(|boards| !boards.is_empty());
    found.or_else(|| Some(layers.last()?.recognise.compatible.clone())).unwrap_or_default()
}

/// The profile that recognises the host, and why: a board's before that of an architecture, and of a kind a
/// site's own before a built-in one.
pub(super) fn recognise(facts: &Facts) -> Result<(Found, String), RequestError> {
    let identity = Identity::of(facts);
    let mut of_site = Vec::new();
    for layer in profiles::of_site(facts)? {
        if let Some(found) = identity.recognised_by(&layer.recognise) {
            of_site.push((layer.name().to_owned(), found, layer));
        }
    }
    let built_in = profile::recognisable()?.into_iter().filter_map(|(name, recognise)| {
        let found = identity.recognised_by(&recognise)?;
        Some((name.to_owned(), found, ()))
    });
    let built_in: Vec<_> = built_in.collect();
    let is_board = |found: &Match| found.rank.step != ARCH_ONLY;
    let of_site_first = of_site.iter().any(|(_, found, _)| is_board(found))
        || !built_in.iter().any(|(_, found, ())| is_board(found));
    if of_site_first && let Some((_, found, layer)) = firmest(of_site)? {
        return Ok((Found { layer, place: Place::Site }, why(&identity, &found)));
    }
    let (name, why) = match firmest(built_in)? {
        Some((name, found, ())) => (name, why(&identity, &found)),
        None => {
            let nothing = match facts.arch() {
                Some(arch) => format!("no profile is for the architecture {arch}"),
                None => "nothing shows the architecture".to_owned(),
            };
            let unseen = identity.unseen().map(|unseen| format!("; {unseen}")).unwrap_or_default();
            (LAST.to_owned(), format!("{nothing}{unseen}"))
        }
    };
    Ok((profiles::built_in_named(&name)?, why))
}

fn why(identity: &Identity, found: &Match) -> String {
    match identity.unseen().filter(|_| found.rank.step == ARCH_ONLY) {
        Some(unseen) => format!("{}; {unseen}", found.why),
        None => found.why.clone(),
    }
}

/// The firmest match; several that are as firm are an error.
fn firmest<T>(mut matches: Vec<(String, Match, T)>) -> Result<Option<(String, Match, T)>, RequestError> {
    let step = matches.iter().map(|(_, found, _)| found.rank.step).min();
    matches.retain(|(_, found, _)| Some(found.rank.step) == step);
    // Names in DMI and in a device tree cannot be weighed against each other.
    if matches.iter().all(|(_, found, _)| found.rank.detail.is_some()) {
        let most = matches.iter().map(|(_, found, _)| found.rank.detail).max();
        matches.retain(|(_, found, _)| Some(found.rank.detail) == most);
    }
    if matches.len() > 1 {
        let names = matches.iter().map(|(name, ..)| name.clone()).collect();
        let mut why: Vec<String> = matches.into_iter().map(|(_, found, _)| found.why).collect();
        why.dedup();
        return Err(RequestError::Ambiguous { names, why });
    }
    Ok(matches.pop())
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::{TestHost, empty_host};
    use crate::inspection::Policy;

    const DMI: &str = "/sys/class/dmi/id";

    fn board(compatible: &str) -> TestHost {
        empty_host()
            .file("/proc/sys/kernel/arch", "aarch64\n")
            .file("/proc/device-tree/compatible", compatible.replace(' ', "\0") + "\0")
    }

    fn pc(vendor: &str, product: &str) -> TestHost {
        empty_host()
            .file("/proc/sys/kernel/arch", "x86_64\n")
            .file(&format!("{DMI}/sys_vendor"), format!("{vendor}\n"))
            .file(&format!("{DMI}/product_name"), format!("{product}\n"))
            .file(&format!("{DMI}/board_name"), "X1\n")
    }

    fn chosen(host: TestHost, profiles: &[(&str, &str)]) -> Result<(String, String), String> {
        let host = profiles.iter().fold(host, |host, (name, recognise)| {
            let text = recognise.replace("; ", "\n");
            host.file(&format!("/etc/edgeprep/profiles/{name}.toml"), text)
        });
        let policy = Policy::choose(&host.facts(), "auto").map_err(|why| why.to_string())?;
        Ok((policy.choice.name, policy.choice.why))
    }

    fn name(host: TestHost, profiles: &[(&str, &str)]) -> String {
        chosen(host, profiles).unwrap().0
    }

    const CHIP: (&str, &str) = ("chip", "[recognise]; compatible = [\"acme,chip\", \"acme,chip-b\"]");
    const GATE: (&str, &str) = ("gate", "[recognise]; compatible = [\"acme,gate-7\"]");
    const ARM: (&str, &str) = ("arm", "[recognise]; arch = [\"aarch64\"]");

    #[test]
    fn a_boards_own_name_is_before_that_of_its_chip_and_any_is_before_the_architecture() {
        let gate = || board("acme,gate-7 acme,chip");
        assert_eq!(name(gate(), &[CHIP, GATE, ARM]), "gate");
        assert_eq!(name(gate(), &[ARM, CHIP]), "chip");
        assert_eq!(name(board("acme,other acme,chip"), &[CHIP, GATE, ARM]), "chip");
        assert_eq!(name(board("other,board"), &[CHIP, GATE, ARM]), "arm");
        // Of one profile all names count; a part of one is none.
        assert_eq!(name(board("acme,chip-b"), &[CHIP]), "chip");
        assert_eq!(name(board("acme,chip-bb acme,gate-77"), &[CHIP, GATE]), "generic-arm64");
        let (_, why) = chosen(gate(), &[GATE]).unwrap();
        assert_eq!(why, "/proc/device-tree/compatible says acme,gate-7");
    }

    #[test]
    fn an_architecture_restricts_what_else_is_recognised() {
        let text = "[recognise]; arch = [\"armv7l\"]; compatible = [\"acme,gate-7\"]";
        assert_eq!(name(board("acme,gate-7"), &[("gate", text)]), "generic-arm64");
        assert_eq!(name(board("acme,gate-7"), &[("gate", &text.replace("armv7l", "aarch64"))]), "gate");
    }

    #[test]
    fn all_names_of_one_table_and_any_table_of_dmi() {
        let text =
            "[[recognise.dmi]]; vendor = \"ACME\"; product = \"Gate*\"; [[recognise.dmi]]; board = \"X2\"";
        let gate = [("gate", text)];
        assert_eq!(name(pc("ACME", "Gate 7"), &gate), "gate");
        assert_eq!(name(pc("ACME", "gate 7"), &gate), "generic-x86_64");
        assert_eq!(name(pc("Other", "Gate 7"), &gate), "generic-x86_64");
        assert_eq!(name(pc("Other", "x").file(&format!("{DMI}/board_name"), "X2\n"), &gate), "gate");
        let (_, why) = chosen(pc("ACME", "Gate 7"), &gate).unwrap();
        assert_eq!(why, format!("{DMI}/sys_vendor says ACME, {DMI}/product_name says Gate 7"));
    }

    #[test]
    fn the_more_is_named_of_dmi_the_firmer() {
        let whole = ("whole", "[[recognise.dmi]]; product = \"Gate 7\"");
        let some = ("some", "[[recognise.dmi]]; product = \"Gate*\"");
        let more = ("more", "[[recognise.dmi]]; product = \"Gate 7*\"");
        let vendor = ("vendor", "[[recognise.dmi]]; vendor = \"A very long name of a vendor\"");
        let pc = || pc("A very long name of a vendor", "Gate 7");
        assert_eq!(name(pc(), &[vendor, some]), "some");
        assert_eq!(name(pc(), &[more, some]), "more");
        assert_eq!(name(pc(), &[whole, more, some]), "whole");
        assert_eq!(name(pc(), &[vendor]), "vendor");
    }

    #[test]
    fn two_that_match_alike_are_named_with_what_to_do() {
        let twin = ("twin", GATE.1);
        let why = chosen(board("acme,gate-7 acme,chip"), &[GATE, twin, CHIP]).unwrap_err();
        let wanted = "the profiles gate and twin both recognise this hardware\n\
                      /proc/device-tree/compatible says acme,gate-7\n\
                      Either name one, with --profile gate or with profile = \"gate\" in \
                      /etc/edgeprep/edgeprep.toml;\n\
                      or make [recognise] of one of them narrower, so that it does not match here.";
        assert_eq!(why, wanted);
        let three = chosen(board("acme,gate-7"), &[GATE, twin, ("other", GATE.1)]).unwrap_err();
        assert!(
            three.starts_with("the profiles gate, other and twin all recognise this hardware\n"),
            "{three}"
        );
        let dmi = ("dmi", "[[recognise.dmi]]; product = \"Gate 7\"");
        let both = board("acme,gate-7").file(&format!("{DMI}/product_name"), "Gate 7\n");
        assert!(
            chosen(both.clone(), &[GATE, dmi]).unwrap_err().contains("Gate 7\n/proc"),
            "neither is firmer"
        );
        let site = both.file("/etc/edgeprep/edgeprep.toml", "profile = \"dmi\"\n");
        assert_eq!(name(site, &[GATE, dmi]), "dmi");
    }

    #[test]
    fn a_sites_profile_is_before_a_built_in_one() {
        let pi = || board("raspberrypi,4-model-b brcm,bcm2711");
        assert_eq!(name(pi(), &[]), "rpi4");
        assert_eq!(name(pi(), &[("ours", "[recognise]; compatible = [\"brcm,bcm2711\"]")]), "ours");
        // One of an architecture is for what no profile of a board recognises, whoever's that is.
        assert_eq!(name(pi(), &[ARM]), "rpi4");
        assert_eq!(name(pi(), &[ARM, ("twin", ARM.1)]), "rpi4");
        assert_eq!(name(board("other,board"), &[ARM]), "arm");
        assert_eq!(
            name(pi(), &[ARM, CHIP, ("ours", "[recognise]; compatible = [\"brcm,bcm2711\"]")]),
            "ours"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let denied = board("").error("/proc/device-tree/compatible", "denied");
        let (name, why) = chosen(denied, &[]).unwrap();
        assert_eq!(name, "generic-arm64");
        assert_eq!(
            why,
            "the architecture is aarch64; no board is guessed, because /proc/device-tree/compatible may not be \
             read: name it with --profile"
        );
        let dmi = pc("ACME", "Gate 7").error("/proc/device-tree/compatible", "denied");
        let gate = ("gate", "[[recognise.dmi]]; product = \"Gate 7\"");
        assert_eq!(self::name(dmi, &[gate]), "gate", "DMI shows it");
    }

    #[test]
    fn an_image_shows_its_architecture_at_most() {
        let image = || empty_host().image();
        let why = "a board cannot be recognised in an image: name it with --profile";
        let (name, said) = chosen(image(), &[]).unwrap();
        assert_eq!((name.as_str(), said), ("generic", format!("nothing shows the architecture; {why}")));
        let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0".to_vec();
        let (name, said) = chosen(image().file("/usr/lib/systemd/systemd", elf), &[]).unwrap();
        let wanted = format!("the architecture of the image is aarch64; {why}");
        assert_eq!((name.as_str(), said), ("generic-arm64", wanted));
    }

    #[test]
    fn the_boot_files_of_other_hardware_are_left_alone() {
        let policy = |host: TestHost, name: &str| Policy::choose(&host.facts(), name).unwrap();
        let pi = policy(board("raspberrypi,4-model-b brcm,bcm2711"), "rpi4");
        assert_eq!(pi.boot().refused, None);
        assert!(pi.boot().boards.contains(&"raspberrypi,400".to_owned()));
        let other = policy(pc("ACME", "Gate 7"), "rpi4");
        assert!(other.boot().refused.is_some() && other.recognised_by.is_none());
        assert_eq!(other.choice.why, "named on the command line; it does not recognise this hardware");
        // Nothing shows what an image is for, and a profile that recognises nothing is one for anything.
        assert_eq!(policy(empty_host().image(), "rpi4").boot().refused, None);
        assert_eq!(policy(pc("ACME", "Gate 7"), "generic").boot().refused, None);
        let denied = policy(board("").error("/proc/device-tree/compatible", "denied"), "rpi4");
        let why = "whether the profile rpi4 is for this hardware cannot be told, because \
                   /proc/device-tree/compatible may not be read";
        assert_eq!(denied.boot().refused.as_deref(), Some(why));
        assert_eq!(denied.choice.why, format!("named on the command line; {why}"));
    }

    #[test]
    fn a_sites_profile_is_for_the_hardware_of_what_it_extends() {
        let ours = |host: TestHost, text: &str| {
            let host = host.file("/etc/edgeprep/profiles/ours.toml", format!("extends = [\"rpi4\"]\n{text}"));
            Policy::choose(&host.facts(), "ours").unwrap()
        };
        let pi = || board("raspberrypi,4-model-b brcm,bcm2711");
        assert_eq!(ours(pi(), "").boot().refused, None);
        let other = ours(pc("ACME", "Gate 7"), "");
        assert_eq!(other.boot().refused.unwrap(), "the profile rpi4 is for other hardware than this");
        let why = "named on the command line; rpi4, which it extends, does not recognise this hardware";
        assert_eq!(other.choice.why, why);
        let gate = "[recognise]\ncompatible = [\"acme,gate-7\"]\n";
        assert_eq!(ours(board("acme,gate-7 brcm,bcm2711"), gate).boot().refused, None);
        // A carrier of one's own for a Compute Module is a Raspberry Pi to its firmware.
        for text in ["", gate] {
            let boards = ours(empty_host().image(), text).boot().boards;
            assert!(boards.contains(&"raspberrypi,4-compute-module".to_owned()), "{text}: {boards:?}");
        }
        let five = ours(empty_host().image(), "[recognise]\ncompatible = [\"raspberrypi,5-model-b\"]\n");
        assert_eq!(five.boot().boards, ["raspberrypi,5-model-b"]);
    }

    #[test]
    fn what_boards_share_is_no_profile_to_choose() {
        let choose =
            |name: &str| Policy::choose(&empty_host().image().facts(), name).map_err(|e| e.to_string());
        let why = "raspberry-pi is what rpi-zero2w, rpi3, rpi4, rpi5 share: name one of them";
        assert_eq!(choose("raspberry-pi").unwrap_err(), why);
        assert!(choose("jetson").is_err() && choose("ti-k3").is_err() && choose("generic").is_ok());
        let listed = choose("nope").unwrap_err();
        assert!(listed.contains("rpi4") && !listed.contains("raspberry-pi"), "{listed}");
        let site = empty_host().image().file("/etc/edgeprep/edgeprep.toml", "profile = \"jetson\"\n");
        assert!(Policy::choose(&site.facts(), "auto").unwrap_err().to_string().contains("share"));
        let own = empty_host().image().file("/etc/edgeprep/profiles/jetson.toml", "extends = [\"jetson\"]\n");
        assert!(Policy::choose(&own.facts(), "jetson").is_ok(), "a site's own is one to choose");
    }
}
