//! What K3s is told where it keeps its data, what it listens on, and so on: by `k3s-rootless.service` of
//! its user and by its configuration files. Of the many options those are here that checks look at.
//!
//! The command line comes before the configuration file (docs.k3s.io, "Configuration File"), and that
//! before a variable; the file itself is named by `K3S_CONFIG_FILE`, else by `--config` (k3s:
//! pkg/configfilearg/parser.go, `findConfigFileFlag`).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cidr::Cidr;
use super::k3s_config::{KEYS, PATH as CONFIG};
use super::unit::Unit;
use super::unit_syntax::words;
use super::users::User;
use super::{Evidence, Facts, LEFT_OUT, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};
use crate::settings::K3S_SERVICE;

/// Options that can be given more than once, or as a list.
const LISTS: [&str; 3] = ["cluster-cidr", "disable", "service-cidr"];
/// Short forms (k3s: pkg/cli/cmds/server.go).
const SHORT: [(&str, &str); 3] = [("c", "config"), ("d", "data-dir"), ("s", "server")];
/// The variables that are looked at (k3s: pkg/rootless/rootless.go; pkg/cli/cmds/server.go).
const VARIABLES: [&str; 4] = ["K3S_CONFIG_FILE", "K3S_DATA_DIR", "K3S_NODE_NAME", "K3S_ROOTLESS_CIDR"];
/// Where K3s listens unless it is told otherwise (k3s: pkg/cli/cmds/server.go).
pub const HTTPS_PORT: u16 = 6443;

/// The options that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct K3sOptions {
    set: BTreeMap<String, Sourced<String>>,
    /// What starts K3s, where there is a unit.
    start: Option<Evidence>,
}

/// Whether a file with variables is one that is read, and that captures know how to clean.
pub fn is_environment_file(path: &str) -> bool {
    path.ends_with(".env") || ["/etc/default/", "/etc/sysconfig/"].iter().any(|dir| path.starts_with(dir))
}

/// Whether a file that the unit names is one that is read, and that captures know how to clean.
pub fn is_config_file(path: &str) -> bool {
    path.starts_with('/') && (path.ends_with(".yaml") || path.ends_with(".yml"))
}

/// The name of an option and what follows its `=`.
pub fn option_of(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())?;
    let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
    let long = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    Some((long, value))
}

/// The last value that a unit gives a variable: an empty assignment takes back all before it.
pub fn variable(unit: &Unit, name: &str) -> Option<Sourced<String>> {
    let mut last = None;
    for Sourced { value, at } in unit.values("Service", "Environment") {
        if value.is_empty() {
            last = None;
        }
        for word in words(value).unwrap_or_default() {
            if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                last = Some(Sourced { value: value.replace("%%", "%"), at: at.clone() });
            }
        }
    }
    last
}

impl K3sOptions {
    /// What is set of an option, and where; a list is joined with commas.
    pub fn get(&self, name: &str) -> Option<&Sourced<String>> {
        self.set.get(name)
    }

    /// Where an option is set.
    pub fn at(&self, name: &str) -> Option<Evidence> {
        self.get(name).map(|set| set.at.clone())
    }

    /// Where K3s keeps its data (k3s: pkg/datadir/datadir.go, `LocalHome`; wrangler: pkg/resolvehome, which
    /// puts the home directory in for these three).
    pub fn data_dir(&self, user: &User) -> String {
        let home = user.home.trim_end_matches('/');
        let Some(set) = self.get("data-dir").filter(|set| !set.value.is_empty()) else {
            return format!("{home}/.rancher/k3s");
        };
        set.value.replace("${HOME}", home).replace("$HOME", home).replace('~', home)
    }

    /// The port of its API server.
    ///
    /// # Errors
    /// Where what is set is no port.
    pub fn https_port(&self) -> Fact<u16> {
        let Some(set) = self.get("https-listen-port") else { return Ok(HTTPS_PORT) };
        set.value.parse().map_err(|_| malformed(&set.at, "expected a port after --https-listen-port"))
    }

    /// What starts K3s; `None` where there is no unit.
    pub fn started_by(&self) -> Option<&Evidence> {
        self.start.as_ref()
    }

    /// The networks that an option or variable sets; none where it is not set.
    ///
    /// # Errors
    /// Where one is no network.
    pub fn networks(&self, name: &str) -> Fact<Option<Vec<Cidr>>> {
        let Some(set) = self.get(name).filter(|set| !set.value.is_empty()) else { return Ok(None) };
        let each = set.value.split(',').map(|cidr| cidr.trim().parse().ok()).collect::<Option<Vec<Cidr>>>();
        let expected = format!("expected a network in {name}");
        each.map(Some).ok_or_else(|| malformed(&set.at, &expected))
    }

    /// What keeps a component of K3s from being deployed.
    pub fn disabled(&self, component: &str) -> Option<Evidence> {
        let set = self.get("disable")?;
        set.value.split(',').any(|name| name.trim() == component).then(|| set.at.clone())
    }

    /// Takes the options of a command line over.
    fn take_arguments(&mut self, words: &[String], at: &Evidence, user: &User) -> Fact<()> {
        let mut given: BTreeMap<&str, String> = BTreeMap::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some((name, value)) = option_of(word) else { continue };
            let Some(name) = KEYS.into_iter().chain(["config"]).find(|known| *known == name) else {
                continue;
            };
            let value = match value {
                Some(value) => value,
                // A flag without a value.
                None if name == "rootless" => "true",
                None => words.next().map_or("", String::as_str),
            };
            match given.get_mut(name).filter(|_| LISTS.contains(&name)) {
                Some(list) => *list = format!("{list},{value}"),
                None => drop(given.insert(name, value.to_owned())),
            }
        }
        for (name, value) in given {
            let value = expanded(&value, user)
                .ok_or_else(|| malformed(at, &format!("what systemd makes of {value} is not known")))?;
            self.set.insert(name.to_owned(), Sourced { value, at: at.clone() });
        }
        Ok(())
    }

    /// Takes the value of a variable over.
    fn take_variable(&mut self, name: &str, user: &User, value: &Sourced<String>) -> Fact<()> {
        let unknown = || malformed(&value.at, &format!("what systemd makes of {} is not known", value.value));
        let expanded = expanded(&value.value, user).ok_or_else(unknown)?;
        self.set.insert(name.to_owned(), Sourced { value: expanded, at: value.at.clone() });
        Ok(())
    }
}

/// Puts in the specifiers that are the same for every unit of a user (systemd.unit(5), "Specifiers").
fn expanded(text: &str, user: &User) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('%')) => out.push('%'),
            ('%', Some('h')) => out.push_str(user.home.trim_end_matches('/')),
            ('%', Some('u')) => out.push_str(&user.name),
            ('%', Some('U')) => out.push_str(&user.uid.to_string()),
            ('%', _) => return None,
            (c, _) => out.push(c),
        }
    }
    Some(out)
}

fn malformed(at: &Evidence, expected: &str) -> Unread {
    Unread::Malformed { path: at.path.to_string(), line: at.line, expected: expected.to_owned() }
}

/// The variables of a file as systemd reads it (systemd.exec(5), `EnvironmentFile=`).
fn in_file(source: &Source, found: &mut BTreeMap<&'static str, Sourced<String>>) {
    for (number, line) in source.lines() {
        let Some((name, value)) = line.trim().split_once('=') else { continue };
        let Some(name) = VARIABLES.into_iter().find(|known| *known == name) else { continue };
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        // No specifiers there.
        found.insert(name, source.on(number, line, value.replace('%', "%%")));
    }
}

impl Facts {
    /// What K3s of this user is told.
    ///
    /// # Errors
    /// Why a file that exists could not be read, by us or by that user; where what it says is not known,
    /// as in captures that leave it out.
    pub fn k3s_options(&self, user: &User) -> Fact<Rc<K3sOptions>> {
        self.memo_fact(&user.name, || {
            let unit = self.user_unit(&user.home, user.uid, &user.groups, K3S_SERVICE)?;
            let mut options = K3sOptions::default();
            let start = unit.values("Service", "ExecStart").rfind(|line| !line.value.is_empty());
            let left_out = unit.values("Service", "Environment").chain(start);
            if let Some(line) = left_out.into_iter().find(|line| line.value.starts_with(LEFT_OUT)) {
                return Err(malformed(&line.at, "the capture leaves out what K3s is told"));
            }
            if let Some(start) = start {
                options.start = Some(start.at.clone());
                options.take_arguments(&words(&start.value).unwrap_or_default(), &start.at, user)?;
            }
            let variables = self.k3s_variables(&unit, user)?;
            if let Some(file) = variables.get("K3S_CONFIG_FILE").filter(|file| !file.value.is_empty()) {
                options.take_variable("config", user, file)?;
            }
            let config = match options.get("config") {
                Some(set) if !is_config_file(&set.value) => {
                    return Err(malformed(&set.at, "the configuration file is none that edgeprep reads"));
                }
                Some(set) => self.k3s_config_in(&set.value, user)?,
                None => self.k3s_config_in(CONFIG, user)?,
            };
            for (name, value) in &config.keys {
                options.set.entry(name.clone()).or_insert_with(|| value.clone());
            }
            for (variable, name) in [
                ("K3S_DATA_DIR", "data-dir"),
                ("K3S_NODE_NAME", "node-name"),
                ("K3S_ROOTLESS_CIDR", "K3S_ROOTLESS_CIDR"),
            ] {
                match variables.get(variable) {
                    Some(value) if !options.set.contains_key(name) => {
                        options.take_variable(name, user, value)?;
                    }
                    _ => {}
                }
            }
            Ok(options)
        })
    }

    /// Where the unit, or a file that it names, sets this variable.
    ///
    /// # Errors
    /// Why a file that it names could not be read, or is not looked at.
    pub fn k3s_variable_at(&self, user: &User, name: &str) -> Fact<Option<Evidence>> {
        let unit = self.user_unit(&user.home, user.uid, &user.groups, K3S_SERVICE)?;
        let variables = self.k3s_variables(&unit, user)?;
        Ok(variables.get(name).filter(|set| !set.value.is_empty()).map(|set| set.at.clone()))
    }

    /// The variables that the unit sets: those in files override those in the unit.
    fn k3s_variables(&self, unit: &Unit, user: &User) -> Fact<BTreeMap<&'static str, Sourced<String>>> {
        let set = VARIABLES.into_iter().filter_map(|name| Some((name, variable(unit, name)?)));
        let mut found: BTreeMap<&'static str, Sourced<String>> = set.collect();
        let mut files: Vec<&Sourced<String>> = Vec::new();
        for file in unit.values("Service", "EnvironmentFile") {
            match file.value.is_empty() {
                true => files.clear(),
                false => files.push(file),
            }
        }
        for file in files {
            let path = expanded(file.value.trim_start_matches('-'), user);
            let path = path.filter(|path| is_environment_file(path) && !path.contains(['*', '?', '[']));
            let path = path.ok_or_else(|| malformed(&file.at, "what it sets is not looked at"))?;
            if let Some(source) = self.user_source(&path, user.uid, &user.groups).or_absent()? {
                in_file(&source, &mut found);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[path = "k3s_options_tests.rs"]
mod tests;
