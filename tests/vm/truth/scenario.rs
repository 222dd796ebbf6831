//! A scenario: one way in which a machine is broken, or looks broken and is not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The images of the lab, with the names of what they are.
pub(crate) const IMAGES: [(&str, &str); 3] =
    [("bookworm", "Debian 12"), ("trixie", "Debian 13"), ("forky", "Debian testing")];

/// The one of the CI, which has the time for one.
pub(crate) const CI_IMAGE: &str = "trixie";

/// One file of `tests/vm/scenarios`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Scenario {
    /// The file's name without its suffix.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it shows, in a line.
    pub(crate) why: String,
    /// The images that it is for.
    #[serde(default = "all_images")]
    pub(crate) images: Vec<String>,
    /// From what the machine is broken.
    #[serde(default)]
    pub(crate) base: Base,
    /// Kernel arguments.
    #[serde(default)]
    pub(crate) kernel: String,
    /// Whether it is in the subset that the CI runs.
    #[serde(default)]
    pub(crate) ci: bool,
    /// What root does to the machine.
    #[serde(default, rename = "break")]
    pub(crate) script: String,
    /// Whether it boots after that.
    #[serde(default)]
    pub(crate) reboot: bool,
    /// Whether it boots after a fix.
    #[serde(default)]
    pub(crate) reboot_after_fix: bool,
    /// Further options of the fix.
    #[serde(default)]
    pub(crate) fix_options: Vec<String>,
    /// What is expected of each stack.
    #[serde(default, rename = "stack")]
    pub(crate) stacks: BTreeMap<String, Expected>,
    /// Findings that make no stack fail, each with what shows it.
    #[serde(default, rename = "check")]
    pub(crate) checks: BTreeMap<String, Shown>,
}

/// What a machine is before it is broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Base {
    /// As it was installed.
    Fresh,
    /// Set up for every stack.
    #[default]
    Good,
}

impl Base {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Base::Fresh => "fresh",
            Base::Good => "good",
        }
    }
}

/// What edgeprep shall say of a stack.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Expected {
    /// The verdict.
    pub(crate) verdict: String,
    /// The checks that are to blame.
    #[serde(default)]
    pub(crate) blockers: Vec<String>,
    /// What it shall say with `--probe`, where the files do not show what is tried.
    pub(crate) probed: Option<Says>,
    /// Part of a line that the program shall say when it fails; ` ... ` stands for what differs.
    pub(crate) because: Option<String>,
    /// Whether a fix makes it run.
    #[serde(default)]
    pub(crate) repairable: bool,
    /// The images on which it is so, where not on all of the scenario.
    pub(crate) images: Option<Vec<String>>,
    /// What is asked instead of the stack's own oracle.
    pub(crate) oracle: Option<String>,
}

/// A verdict, and the checks that are to blame.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Says {
    pub(crate) verdict: String,
    #[serde(default)]
    pub(crate) blockers: Vec<String>,
}

impl Expected {
    /// What it shall say, with `--probe` or without.
    pub(crate) fn says(&self, probed: bool) -> Says {
        let says = Says { verdict: self.verdict.clone(), blockers: self.blockers.clone() };
        self.probed.clone().filter(|_| probed).unwrap_or(says)
    }
}

/// Whether a line has all parts of what shall be said, in that order.
pub(crate) fn tells(line: &str, because: &str) -> bool {
    let mut rest = line;
    because.split(" ... ").all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// A check that finds something, and a program that meets it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Shown {
    /// Whether it finds something.
    pub(crate) finds: bool,
    /// Of what alone it does, where a check looks at more.
    pub(crate) subject: Option<String>,
    /// A bash script that succeeds where nothing is wrong, where it is not that of the check.
    pub(crate) oracle: Option<String>,
    /// Whether a fix repairs it.
    #[serde(default)]
    pub(crate) repairable: bool,
    /// The images on which it is so, where not on all of the scenario.
    pub(crate) images: Option<Vec<String>>,
}

fn all_images() -> Vec<String> {
    IMAGES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// All scenarios of a folder, by name.
pub(crate) fn load(dir: &Path) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let (Some(stem), Some("toml")) =
            (path.file_stem().and_then(|s| s.to_str()), path.extension().and_then(|s| s.to_str()))
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        let mut scenario: Scenario = toml::from_str(&text).with_context(|| path.display().to_string())?;
        stem.clone_into(&mut scenario.name);
        scenario.reject_nonsense().with_context(|| path.display().to_string())?;
        scenarios.push(scenario);
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
}

impl Scenario {
    fn reject_nonsense(&self) -> Result<()> {
        if let Some(image) = self.images.iter().find(|image| !all_images().contains(image)) {
            bail!("no image is called {image}");
        }
        if let Some(image) = self.images.iter().find(|image| self.stacks_on(image).next().is_none()) {
            bail!("no stack is judged on {image}");
        }
        if self.ci && !self.images.iter().any(|image| image == CI_IMAGE) {
            bail!("the CI has {CI_IMAGE} alone");
        }
        let some = self.stacks.values().filter_map(|expected| expected.images.as_ref());
        let mut some = some.chain(self.checks.values().filter_map(|shown| shown.images.as_ref())).flatten();
        if let Some(image) = some.find(|image| !self.images.contains(image)) {
            bail!("{image} is none of the images of the scenario");
        }
        for (stack, expected) in &self.stacks {
            for says in [expected.says(false), expected.says(true)] {
                if !["ready", "pending", "not-ready", "unknown"].contains(&says.verdict.as_str()) {
                    bail!("{stack}: {} is no verdict", says.verdict);
                }
                if (says.verdict == "ready") != says.blockers.is_empty() {
                    bail!("{stack}: blockers are named exactly where it is not ready");
                }
            }
            if expected.verdict == "ready" && expected.repairable {
                bail!("{stack}: what is ready is not repaired");
            }
            if (expected.says(true).verdict == "ready") == expected.because.is_some() {
                bail!("{stack}: because is told exactly where it fails");
            }
        }
        Ok(())
    }

    /// The stacks that are judged on an image.
    pub(crate) fn stacks_on(&self, image: &str) -> impl Iterator<Item = (&String, &Expected)> {
        self.stacks.iter().filter(move |(_, expected)| on(expected.images.as_ref(), image))
    }

    /// The checks that are shown on an image.
    pub(crate) fn checks_on(&self, image: &str) -> impl Iterator<Item = (&String, &Shown)> {
        self.checks.iter().filter(move |(_, shown)| on(shown.images.as_ref(), image))
    }

    /// The same without what is only compared with what happens.
    pub(crate) fn what_happens(&self) -> Scenario {
        let mut scenario = self.clone();
        scenario.why.clear();
        scenario.ci = false;
        for expected in scenario.stacks.values_mut() {
            expected.verdict.clear();
            expected.blockers.clear();
            expected.probed = None;
            expected.because = None;
        }
        for shown in scenario.checks.values_mut() {
            shown.finds = false;
            shown.subject = None;
        }
        scenario
    }

    /// Whether a fix is tried on an image.
    pub(crate) fn is_fixed_on(&self, image: &str) -> bool {
        self.stacks_on(image).any(|(_, expected)| expected.repairable)
            || self.checks_on(image).any(|(_, shown)| shown.repairable)
    }
}

fn on(images: Option<&Vec<String>>, image: &str) -> bool {
    images.is_none_or(|images| images.iter().any(|one| one == image))
}
