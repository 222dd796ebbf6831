//! Which profile the hardware is recognised by: a board by its device tree or by DMI, everything else by its
//! architecture. Nothing is guessed: two profiles that match alike are an error, and where nothing shows the
//! board, that is said.

use std::rc::Rc;

use super::RequestError;
use super::profiles::{self, Found, Place};
use crate::facts::hardware::{DeviceTree, Dmi};
use crate::facts::{Evidence, Facts, Sourced};
use crate::host::{Fact, Unread};
use crate::profile::{self, DmiNames, Pattern, Recognise};

/// The profile of whatever no other recognises.
const LAST: &str = "generic";
const NAME_IT: &str = "name it with --profile";

/// What shows which machine this is.
pub struct Identity {
    tree: Fact<Rc<Option<DeviceTree>>>,
    dmi: Fact<Rc<Option<Dmi>>>,
    arch: Option<String>,
    running: bool,
}

/// How firmly a profile recognises a machine, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    rank: Rank,
    /// The file and the string in it, as a clause.
    pub why: String,
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
    pub fn of(facts: &Facts) -> Identity {
        Identity { tree: facts.device_tree(), dmi: facts.dmi(), arch: facts.arch(), running: facts.running() }
    }

    /// Whether this hardware is recognised, and by what.
    pub fn recognised_by(&self, recognise: &Recognise) -> Option<Match> {
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

/// The profile that recognises the host, and why: a site's own before a built-in one.
pub(super) fn recognise(facts: &Facts) -> Result<(Found, String), RequestError> {
    let identity = Identity::of(facts);
    let site = profiles::of_site(facts)?;
    let matches = site.into_iter().filter_map(|layer| {
        let found = identity.recognised_by(&layer.recognise)?;
        Some((layer.name().to_owned(), found, layer))
    });
    if let Some((_, found, layer)) = firmest(matches.collect())? {
        return Ok((Found { layer, place: Place::Site }, why(&identity, &found)));
    }
    let built_in = profile::recognisable()?.into_iter().filter_map(|(name, recognise)| {
        let found = identity.recognised_by(&recognise)?;
        Some((name.to_owned(), found, ()))
    });
    let (name, why) = match firmest(built_in.collect())? {
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
        return Err(RequestError::Ambiguous { names, why: why.join("; ") });
    }
    Ok(matches.pop())
}
