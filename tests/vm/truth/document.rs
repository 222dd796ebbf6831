//! `docs/truth.md`, and a trial in a line.

use std::fmt::Write;

use super::asked::Says;
use super::oracle::Outcome;
use super::scenario::{IMAGES, Scenario, tells};
use super::score::Score;
use super::shown::{NOT_SHOWN, neither_shown_nor_excused};
use super::trial::Trial;

/// The document: how it was seen, the matrix, what was wrong, and each scenario.
pub(crate) fn truth(
    scenarios: &[Scenario],
    trials: &[Trial],
    score: &Score,
    versions: &[(String, String)],
) -> String {
    let mut text = format!(
        "# What edgeprep says, and what happens\n\n\
         Written by `tests/vm/run --all`, which boots machines, breaks each in one way, asks edgeprep, and \
         then runs the\nreal programs. {} scenarios, {} machines, and {} repairs.\n\n\
         `ready` is right when it works, `not-ready` and `pending` when it fails, with `--probe` and without; \
         what\nis pending has also worked after nothing but a reboot. What works is the stack's own first \
         step, as its users\ntake it. K3s, k3d and minikube are not packaged by Debian: scripts stand in for \
         them, which ask of the\nhost what those ask, and name their sources (`tests/vm/truth/k3s`, \
         `tests/vm/truth/k3d`,\n`tests/vm/oracles/minikube.sh`). kind is itself up to the image of its node. \
         Usernetes is its preflight check,\nand a node with its options.\n\n## Score\n\n{}\n",
        scenarios.len(),
        trials.len(),
        score.repairs,
        score.table()
    );
    for (title, list) in [
        ("False ready", &score.false_ready),
        ("False not-ready", &score.false_not_ready),
        ("Known by probe alone, not ready where the files say ready", &score.ready_but_for_probes),
        ("Known by probe alone, ready where the files say otherwise", &score.not_ready_but_for_probes),
        ("Not repaired", &score.not_repaired),
        ("Not as expected", &score.unexpected),
    ] {
        if !list.is_empty() {
            let _ = writeln!(text, "{title}:\n");
            for one in list {
                let _ = writeln!(text, "- {}", one.replace('\n', " / "));
            }
            text.push('\n');
        }
    }
    if !score.peers.is_empty() {
        text.push_str(
            "## Others, asked the same\n\nMoby's script is about the kernel of the host alone, that of \
             Usernetes about what Usernetes needs.\n",
        );
        text.push_str(
            "\n| | ready, works | ready, fails | not ready, works | not ready, fails |\n|-|-:|-:|-:|-:|\n",
        );
        for (peer, [tp, fp, fneg, tn]) in &score.peers {
            let _ = writeln!(text, "| {peer} | {tp} | {fp} | {fneg} | {tn} |");
        }
        text.push('\n');
    }
    text.push_str("## Scenarios\n\n| scenario | on | asked | edgeprep says | it | after `edgeprep fix` |\n|-|-|-|-|-|-|\n");
    for scenario in scenarios {
        let _ = rows(&mut text, scenario, trials);
    }
    text.push_str("\n## Not shown\n\nRequired checks that decide no verdict above.\n\n");
    for (id, why) in NOT_SHOWN {
        let _ = writeln!(text, "- `{id}`: {why}.");
    }
    for id in neither_shown_nor_excused(trials) {
        let _ = writeln!(text, "- `{id}`: it should be.");
    }
    text.push_str("\n## Versions\n");
    for (image, said) in versions {
        let name = IMAGES.iter().find(|(one, _)| one == image).map_or("", |(_, name)| name);
        let _ = writeln!(text, "\n{name} ({image}):\n\n```\n{}\n```", said.trim());
    }
    text
}

/// A line for each answer, with the machines that gave it.
fn rows(text: &mut String, scenario: &Scenario, trials: &[Trial]) -> std::fmt::Result {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    let works = |works: bool| if works { "works" } else { "fails" };
    for trial in trials.iter().filter(|trial| trial.scenario == scenario.name) {
        let image = IMAGES.iter().find(|(one, _)| *one == trial.image).map_or("", |(_, name)| name);
        let stacks = trial.stacks.iter().map(|judged| {
            let says = told(&judged.says);
            let probed = told(&judged.probed);
            let says = if probed == says { says } else { format!("{says}; with `--probe` {probed}") };
            let after = judged.after.as_ref();
            let after = after.map_or(String::new(), |(verdict, o)| format!("{verdict}, {}", works(o.works)));
            format!(
                "{} | {says} | {} | {after}",
                judged.stack,
                became(&judged.outcome, judged.expected.because.as_deref())
            )
        });
        let checks = trial.checks.iter().map(|found| {
            let finds = |finds: bool| if finds { "found" } else { "passes" };
            let after = found.after.as_ref();
            let after = after.map_or(String::new(), |(f, o)| format!("{}, {}", finds(*f), works(o.works)));
            let says = finds(found.finds);
            format!("`{}` | {says} | {} | {after}", found.id, became(&found.outcome, None))
        });
        for line in stacks.chain(checks) {
            match lines.iter_mut().find(|(one, _)| *one == line) {
                Some((_, images)) => images.push(image),
                None => lines.push((line, vec![image])),
            }
        }
    }
    let mut name = format!("**{}**: {}", scenario.name, scenario.why);
    for (line, images) in lines {
        let images: Vec<_> = images.iter().map(|image| image.trim_start_matches("Debian ")).collect();
        writeln!(text, "| {name} | {} | {line} |", images.join(", "))?;
        name.clear();
    }
    Ok(())
}

fn told(says: &Says) -> String {
    match says.blockers.as_slice() {
        [] => says.verdict.clone(),
        blockers => format!("{}: {}", says.verdict, blockers.join(", ")),
    }
}

/// What a program came to, with the line that says why it failed, else the end of what it said.
fn became(outcome: &Outcome, because: Option<&str>) -> String {
    let lines = || outcome.said.lines().rev();
    let telling = because.and_then(|because| lines().find(|line| tells(line, because)));
    // RootlessKit says last that its child failed.
    let said = telling.or_else(|| lines().find(|line| !line.starts_with("[rootlesskit:"))).or(lines().next());
    let said = said.unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(120).collect();
    match outcome.works {
        true => "works".to_owned(),
        false if said.is_empty() => "fails".to_owned(),
        false => format!("fails: `{}`", said.replace(['`', '|'], "'")),
    }
}

/// A trial in a line.
pub(crate) fn line(trial: &Trial) -> String {
    let mut parts = vec![format!("{} on {}:", trial.scenario, trial.image)];
    let word = |outcome: &Outcome| match outcome.works {
        true => "works".to_owned(),
        false => format!("fails ({})", outcome.said.lines().next_back().unwrap_or_default()),
    };
    for judged in &trial.stacks {
        let mut part = format!("{} {} and {}", judged.stack, judged.says.verdict, word(&judged.outcome));
        if judged.probed.verdict != judged.says.verdict {
            part.push_str(&format!(" (probed: {})", judged.probed.verdict));
        }
        if let Some((verdict, outcome)) = &judged.rebooted {
            part.push_str(&format!(" (rebooted: {verdict} and {})", word(outcome)));
        }
        if let Some((verdict, outcome)) = &judged.after {
            part.push_str(&format!(" (fixed: {verdict} and {})", word(outcome)));
        }
        parts.push(part);
    }
    for found in &trial.checks {
        let finds = |finds: bool| if finds { "finds" } else { "passes" };
        let mut part = format!("{} {} and {}", found.id, finds(found.finds), word(&found.outcome));
        if let Some((after, outcome)) = &found.after {
            part.push_str(&format!(" (fixed: {} and {})", finds(*after), word(outcome)));
        }
        parts.push(part);
    }
    parts.extend(trial.error.clone());
    parts.join(" ")
}
