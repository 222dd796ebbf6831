//! The firmware of a Raspberry Pi: it reads the first line of `cmdline.txt`.

use super::{Boot, BootWant, Method, Place, Syntax, Unheard};
use crate::facts::Facts;
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::host::{Fact, OrAbsent};

/// The first that is there is read; one further down is left over.
const FILES: [&str; 3] =
    ["/boot/firmware/current/cmdline.txt", "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];
const UNHEARD: &str = "the firmware reads the first line only";

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let named: Vec<&str> = want.files.iter().map(String::as_str).collect();
    let files = if named.is_empty() { FILES.as_slice() } else { &named };
    for path in files {
        let Some(source) = facts.source(path).or_absent()? else { continue };
        let all = KernelCmdline::parse(&source);
        let (first, rest): (Vec<_>, Vec<_>) =
            all.parameters.into_iter().partition(|parameter| parameter.at.line == Some(1));
        let words = KernelCmdline { parameters: first };
        return Ok(Some(Boot {
            method: Method::RaspberryPi,
            at: vec![source.whole(()).at],
            next: words.clone(),
            doubt: None,
            unheard: rest.into_iter().map(|parameter| Unheard { parameter, why: UNHEARD }).collect(),
            place: Ok(Place {
                path: (*path).to_owned(),
                syntax: Syntax::FirstLine,
                words,
                carry: Vec::new(),
            }),
        }));
    }
    Ok(None)
}
