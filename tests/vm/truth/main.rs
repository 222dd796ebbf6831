//! The truth lab: what edgeprep says of a machine, against what happens on it. See `tests/vm/README.md`.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program of its own, not edgeprep")]

pub(crate) mod asked;
mod document;
mod machine;
pub(crate) mod oracle;
mod peer;
mod saved;
pub(crate) mod scenario;
pub(crate) mod score;
mod seen;
pub(crate) mod shown;
pub(crate) mod trial;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

use saved::Saved;
use scenario::{Base, CI_IMAGE, IMAGES, Scenario};
use score::Score;
use seen::How;
use trial::{Lab, Trial};

/// Boots machines, breaks each in one way, and compares what edgeprep says with what happens
#[derive(Parser)]
#[command(name = "tests/vm/run")]
struct Arguments {
    /// All scenarios on all of their images; with --usernetes and --moby, write docs/truth.md [default: the
    /// subset of the CI]
    #[arg(long)]
    all: bool,
    /// Only scenarios whose name contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only on this image; may be repeated
    #[arg(long, value_name = "NAME")]
    image: Vec<String>,
    /// Also run again what came out right before
    #[arg(long)]
    again: bool,
    /// Machines running at once
    #[arg(long, value_name = "N", default_value_t = 3)]
    machines: usize,
    /// Usernetes' sources, whose preflight script is asked, too
    #[arg(long, value_name = "DIR")]
    usernetes: Option<PathBuf>,
    /// Moby's sources, whose check-config.sh is asked, too
    #[arg(long, value_name = "DIR")]
    moby: Option<PathBuf>,
    /// Run a script on a machine that is set up, and print what it says
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// From which machine --script goes on
    #[arg(long, value_name = "BASE", value_enum, default_value_t)]
    base: Base,
    /// Kernel arguments for --script
    #[arg(long, value_name = "ARGS", default_value = "")]
    kernel: String,
    /// The edgeprep to put into the machines
    #[arg(long, value_name = "FILE", env = "EDGEPREP_STATIC")]
    edgeprep: PathBuf,
}

/// A file below `tests/vm`.
pub(crate) fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vm").join(path)
}

fn lab() -> PathBuf {
    here("lab")
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let lab = Lab {
        edgeprep: std::fs::read(&arguments.edgeprep)
            .with_context(|| arguments.edgeprep.display().to_string())?,
        saved: Saved::open()?,
        peers: peer::peers(arguments.usernetes.as_deref(), arguments.moby.as_deref())?,
        of_kernels: Mutex::default(),
    };
    if let Some(script) = &arguments.script {
        let image = arguments.image.first().map_or("trixie", String::as_str);
        let ran =
            lab.on_a_machine(image, arguments.base, &arguments.kernel, &std::fs::read_to_string(script)?)?;
        print!("{}", ran.output);
        std::process::exit(ran.code);
    }
    let scenarios = scenario::load(&here("scenarios"))?;
    let begun = Instant::now();
    let chosen = chosen(&scenarios, &arguments);
    if chosen.is_empty() {
        bail!("no scenario of that name on that image");
    }
    let whole = arguments.all && arguments.only.is_empty() && arguments.image.is_empty();
    // The columns of the peers are not taken out of the document because their sources are not here.
    let writes = whole && arguments.usernetes.is_some() && arguments.moby.is_some();
    if whole && !writes {
        println!("docs/truth.md is not written without --usernetes and --moby");
    }
    let trials = run(&lab, chosen, arguments.machines.max(1), arguments.again);
    let score = Score::of(&trials);
    println!("\n{}", score.table());
    println!("{} trials in {} s", trials.len(), begun.elapsed().as_secs());
    if writes {
        let versions = lab.versions(&IMAGES.map(|(name, _)| name))?;
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/truth.md");
        std::fs::write(&path, document::truth(&scenarios, &trials, &score, &versions))?;
        println!("wrote docs/truth.md");
    }
    let mut wrong = score.wrong();
    if whole {
        wrong.extend(shown::wrong(&trials));
    }
    if !wrong.is_empty() {
        println!("\n{}", wrong.join("\n"));
        std::process::exit(1);
    }
    Ok(())
}

/// The scenarios that are run, each with its image; those that go on from one machine together.
fn chosen<'a>(scenarios: &'a [Scenario], arguments: &Arguments) -> Vec<(&'a Scenario, &'a str)> {
    let subset = !arguments.all && arguments.only.is_empty();
    let mut chosen: Vec<(&Scenario, &str)> = Vec::new();
    for scenario in scenarios {
        if subset && !scenario.ci
            || !arguments.only.is_empty() && !arguments.only.iter().any(|text| scenario.name.contains(text))
        {
            continue;
        }
        let images = scenario.images.iter().map(String::as_str);
        let named = |image: &&str| arguments.image.is_empty() || arguments.image.iter().any(|i| i == image);
        let images = images.filter(named).filter(|image| !subset || *image == CI_IMAGE);
        chosen.extend(images.map(|image| (scenario, image)));
    }
    chosen.sort_by_key(|(scenario, image)| (*image, scenario.base.as_str(), scenario.kernel.clone()));
    chosen
}

fn run(lab: &Lab, chosen: Vec<(&Scenario, &str)>, machines: usize, again: bool) -> Vec<Trial> {
    let count = chosen.len();
    let waiting = Mutex::new(chosen.into_iter());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..machines {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                    let Some((scenario, image)) = next else { break };
                    let begun = Instant::now();
                    let (trial, how) = seen::seen_or_run(lab, scenario, image, again);
                    let seconds = begun.elapsed().as_secs();
                    let time = match how {
                        How::Run => format!("{seconds} s"),
                        How::AskedAnew => format!("asked anew, {seconds} s"),
                        How::SeenBefore => "seen before".to_owned(),
                    };
                    if let Ok(mut done) = done.lock() {
                        done.push(trial);
                        let trial = &done[done.len() - 1];
                        println!("[{}/{count}] {} ({time})", done.len(), document::line(trial));
                    }
                }
            });
        }
    });
    let mut trials = done.into_inner().unwrap_or_default();
    trials.sort_by(|a: &Trial, b| (&a.scenario, &a.image).cmp(&(&b.scenario, &b.image)));
    trials
}
