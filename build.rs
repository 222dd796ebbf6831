//! Makes what is built in of `profiles/`: each file without its comments, line by line, so that what an error
//! names is the line of the file that people open; and the list of what lies in `profiles/boards`.
#![expect(clippy::disallowed_methods, reason = "a build script reads and writes files")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

/// The folders of policy, below the root of the package.
const FOLDERS: [&str; 3] = ["profiles", "profiles/stacks", "profiles/boards"];
/// Of it each file is a profile.
const BOARDS: &str = "profiles/boards";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=profiles");
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let mut boards = Vec::new();
    for folder in FOLDERS {
        fs::create_dir_all(out.join(folder))?;
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().into_string().map_err(|name| format!("{name:?}: no UTF-8"))?;
            if !name.ends_with(".toml") {
                continue;
            }
            let file = format!("{folder}/{name}");
            let text = fs::read_to_string(&file)?;
            fs::write(out.join(&file), without_comments(&text).map_err(|why| format!("{file}:{why}"))?)?;
            if folder == BOARDS {
                boards.push(file);
            }
        }
    }
    boards.sort_unstable_by(|one, other| one.trim_end_matches(".toml").cmp(other.trim_end_matches(".toml")));
    let row = |file: &String| {
        format!("    ({file:?}, include_str!(concat!(env!(\"OUT_DIR\"), {:?}))),\n", format!("/{file}"))
    };
    let list = format!("&[\n{}]\n", boards.iter().map(row).collect::<String>());
    fs::write(out.join("boards.rs"), list)?;
    Ok(())
}

/// The text without comments and with as many lines.
fn without_comments(text: &str) -> Result<String, String> {
    let mut out = String::new();
    for (at, line) in text.lines().enumerate() {
        if line.contains("\"\"\"") || line.contains("'''") {
            return Err(format!("{}: expected strings of one line", at + 1));
        }
        out.push_str(line[..end_of_toml(line)].trim_end());
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    Ok(out)
}

/// Where the comment of a line begins: at a `#` outside of strings.
fn end_of_toml(line: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return at,
            (None, '"' | '\'') => quote = Some(c),
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            _ => {}
        }
        escaped = false;
    }
    line.len()
}
