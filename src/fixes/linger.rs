//! Lingering: logind writes its own file where it runs; an image gets the file, or, where its `/var` is not
//! kept, the line of tmpfiles.d that makes it.

use super::edit::set_line;
use super::template::Template;
use super::work::{READABLE, Work, lines};
use super::{FixError, Layer, Setting, Wanted};
use crate::facts::linger::linger_path;
use crate::plan::{Activation, Writer};

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut made: Vec<String> = Vec::new();
    for setting in settings {
        let Setting::Linger(name) = setting else { continue };
        let path = linger_path(name);
        if work.activates() {
            let uid = work.user(name)?.uid;
            work.activate(Activation::Linger { user: name.clone(), uid });
        } else if work.options.layer == Layer::Admin {
            work.push(path, Writer::System, Wanted::File { bytes: Vec::new(), mode: READABLE });
        } else if path.contains(char::is_whitespace) || path.contains('\\') {
            work.manual(format!("no line of tmpfiles.d can name {path}"), Vec::new());
        } else {
            made.push(path);
        }
    }
    if made.is_empty() {
        return Ok(());
    }
    // A percent sign begins a specifier (`tmpfiles.d(5)`).
    let line = |path: &String| format!("f {} 0644 root root - -", path.replace('%', "%%"));
    let texts: Vec<String> = made.iter().map(line).collect();
    let edit = |text: &str| {
        texts.iter().fold(text.to_owned(), |text, new| set_line(&text, |line| line == new, new))
    };
    let path = "/usr/lib/tmpfiles.d/rootless-linger.conf".to_owned();
    work.file(path, Writer::System, (Template::Lines, &lines(&texts)), edit)
}
